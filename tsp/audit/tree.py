"""The Merkle tree of RFC 9162, clause 2.1: hashes, proofs and their verification. Pure.

Where a function needs nodes of a stored tree it is handed a `NodeReader`: `node(level, index)` is
the hash over the perfect subtree of the 2^level leaves from `index * 2^level`.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

NodeReader = Callable[[int, int], bytes]

#: MTH({}), the root of the empty log (2.1.1).
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: appends leaf hashes and knows the root at every size.

    Keeps one hash for each set bit of the size, so a log of any length is recomputed in one pass.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Adds one leaf hash at the end."""
        index = self.size
        while index & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            index >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The tree head of everything appended so far."""
        return _fold(self._peaks) if self._peaks else EMPTY_ROOT


def root_hash(size: int, node: NodeReader) -> bytes:
    """MTH over the first `size` leaves."""
    return _range(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """PATH(index, D[size]) of 2.1.3.1; `ValueError` unless 0 <= index < size."""
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    path: list[bytes] = []
    start = 0
    while size > 1:
        left = _split(size)
        if index - start < left:
            path.append(_range(start + left, size - left, node))
            size = left
        else:
            path.append(_range(start, left, node))
            start, size = start + left, size - left
    return path[::-1]


def consistency_proof(old: int, new: int, node: NodeReader) -> list[bytes]:
    """PROOF(old, D[new]) of 2.1.4.1; empty for equal sizes and for an empty old tree."""
    if not 0 <= old <= new:
        raise ValueError("a log only grows")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, size, known = 0, new, True
    while old - start != size:
        left = _split(size)
        if old - start <= left:
            path.append(_range(start + left, size - left, node))
            size = left
        else:
            path.append(_range(start, left, node))
            start, size, known = start + left, size - left, False
    if not known:
        path.append(_range(start, size, node))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf hash stands at `index` of the tree with this root (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, computed = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            computed = node_hash(sibling, computed)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            computed = node_hash(computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and computed == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the old tree is a prefix of the new one (2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if old == new:
        return not proof and old_root == new_root
    # An old tree of a power of two is itself the first node of the path.
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (2.1.1)."""
    return 1 << (size - 1).bit_length() - 1


def _range(start: int, size: int, node: NodeReader) -> bytes:
    """MTH over `size` leaves from `start`, where `start` is a multiple of a power of two >= size / 2."""
    peaks: list[bytes] = []
    while size:
        level = size.bit_length() - 1
        peaks.append(node(level, start >> level))
        start, size = start + (1 << level), size - (1 << level)
    return _fold(peaks)


def _fold(peaks: Sequence[bytes]) -> bytes:
    folded = peaks[-1]
    for peak in reversed(peaks[:-1]):
        folded = node_hash(peak, folded)
    return folded
