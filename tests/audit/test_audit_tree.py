"""Tree, proofs and tiles against a tree that is written down straight from the definition."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsp.audit import tiles, tree
from tsp.core.errors import Invalid

LEAVES = [tree.leaf_hash(bytes([i & 0xFF, i >> 8])) for i in range(700)]


def defined_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word by word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha256(b"\x01" + defined_root(hashes[:k]) + defined_root(hashes[k:])).digest()


def plain_node(level: int, index: int) -> bytes:
    return defined_root(LEAVES[index << level : (index + 1) << level])


def grown_tiles(steps: list[int]) -> dict[tiles.TileId, bytes]:
    """Tiles of a log that grew by these numbers of leaves."""
    stored: dict[tiles.TileId, bytes] = {}
    size = 0

    def stored_tile(level: int, index: int) -> bytes:
        return stored[level, index]

    for step in steps:
        stored |= tiles.extend(stored_tile, size, LEAVES[size : size + step])
        size += step
    return stored


@pytest.mark.requirement("EVD-2")
def test_known_roots_of_the_empty_and_the_small_tree() -> None:
    # SHA-256 of nothing, and of 0x00 alone: the values that every RFC 9162 log has.
    assert tree.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@settings(deadline=None)
@given(st.integers(0, 300))
def test_roots_from_nodes_and_from_the_frontier_are_the_defined_one(size: int) -> None:
    frontier = tree.Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    assert frontier.root() == tree.root_hash(size, plain_node) == defined_root(LEAVES[:size])


@pytest.mark.requirement("EVD-2")
@settings(deadline=None)
@given(st.data())
def test_inclusion_is_proven_for_the_leaf_and_for_no_other(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    root = defined_root(LEAVES[:size])
    proof = tree.inclusion_proof(index, size, plain_node)
    assert tree.verify_inclusion(LEAVES[index], index, size, proof, root)
    other = data.draw(st.integers(0, size).filter(lambda i: i != index))
    assert not tree.verify_inclusion(LEAVES[other], index, size, proof, root)
    assert not tree.verify_inclusion(LEAVES[index], other, size, proof, root)
    assert not tree.verify_inclusion(LEAVES[index], index, size, [*proof, LEAVES[0]], root)
    assert not proof or not tree.verify_inclusion(LEAVES[index], index, size, proof[:-1], root)


@pytest.mark.requirement("EVD-2")
@settings(deadline=None)
@given(st.data())
def test_consistency_is_proven_for_a_prefix_and_for_nothing_else(data: st.DataObject) -> None:
    new = data.draw(st.integers(0, 300))
    old = data.draw(st.integers(0, new))
    roots = defined_root(LEAVES[:old]), defined_root(LEAVES[:new])
    proof = tree.consistency_proof(old, new, plain_node)
    assert tree.verify_consistency(old, roots[0], new, roots[1], proof)
    forged = sha256(roots[0]).digest()
    assert not tree.verify_consistency(old, forged, new, roots[1], proof)
    assert old in (0, new) or not tree.verify_consistency(old, roots[0], new, forged, proof)
    assert not tree.verify_consistency(old, roots[0], new, roots[1], [*proof, forged])
    assert not proof or not tree.verify_consistency(old, roots[0], new, roots[1], proof[:-1])


def test_proofs_of_what_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="leaf"):
        tree.inclusion_proof(3, 3, plain_node)
    with pytest.raises(ValueError, match="grows"):
        tree.consistency_proof(4, 3, plain_node)
    assert not tree.verify_consistency(4, b"", 3, b"", [])
    assert not tree.verify_inclusion(b"", 3, 3, [], b"")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=4).filter(lambda steps: sum(steps) <= 700))
def test_tiles_grow_to_the_same_tree_in_any_steps(steps: list[int]) -> None:
    size = sum(steps)
    stored = grown_tiles(steps)
    assert sorted(stored) == sorted(tiles.tiles_of(size))
    assert all(len(stored[t]) == tiles.tile_width(*t, size) * tiles.HASH for t in stored)
    node = tiles.node_reader(lambda level, index: stored[level, index])
    assert tree.root_hash(size, node) == defined_root(LEAVES[:size])


def test_proofs_from_tiles_hold_across_the_border_of_a_tile() -> None:
    stored = grown_tiles([255, 1, 300, 100])
    node = tiles.node_reader(lambda level, index: stored[level, index])
    root = defined_root(LEAVES[:656])
    for index in (0, 255, 256, 511, 512, 655):
        proof = tree.inclusion_proof(index, 656, node)
        assert tree.verify_inclusion(LEAVES[index], index, 656, proof, root)
    proof = tree.consistency_proof(257, 656, node)
    assert tree.verify_consistency(257, defined_root(LEAVES[:257]), 656, root, proof)


def test_a_missing_node_is_never_made_up() -> None:
    stored = grown_tiles([5])
    node = tiles.node_reader(lambda level, index: stored.get((level, index), b""))
    with pytest.raises(KeyError):
        node(0, 5)


@settings(deadline=None)
@given(st.integers(0, 10**15), st.integers(1, 256))
def test_tile_paths_have_one_spelling(index: int, width: int) -> None:
    assert tiles.parse_request(tiles.encode_request(index, width)) == tiles.TileRequest(index, width)


def test_tile_path_of_the_specification() -> None:
    assert tiles.encode_request(1234067) == "x001/x234/067"
    assert tiles.encode_request(5, 112) == "005.p/112"


@settings(deadline=None)
@given(st.text("0123456789x/.p", max_size=16))
def test_other_tile_paths_are_refused(path: str) -> None:
    try:
        found = tiles.parse_request(path)
    except Invalid as error:
        assert error.code == "tile-path"
    else:
        assert tiles.encode_request(found.index, found.width) == path


@pytest.mark.parametrize("path", ["5", "0005", "x000/005", "005.p/256", "005.p/0", "005.p/07", "005.p/", "x1/005", ""])
def test_a_second_spelling_of_a_tile_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="tile-path"):
        tiles.parse_request(path)
