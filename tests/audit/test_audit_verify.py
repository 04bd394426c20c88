"""Whoever changes the log is caught: entries rewritten, removed, the log cut or exchanged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from starlette.testclient import TestClient
from typer.testing import CliRunner

from tests.audit.audit_kit import Log, SoftSigner
from tests.conftest import DatabaseFactory
from tsp.audit import commands
from tsp.audit.canonical import canonical
from tsp.audit.entries import Leaf, commitment, parse_leaf
from tsp.audit.http import log_app
from tsp.audit.installation import installed_key, log_origin, publish_key, sequencer_limits
from tsp.audit.tables import Entry, Publication, Tile, TreeHead, WriterHead
from tsp.audit.tree import leaf_hash
from tsp.audit.verify import Report, verify_database, verify_public
from tsp.core.errors import Invalid, NotFound
from tsp.core.outbound import Outbound, OutboundResponse
from tsp.core.settings import load_settings
from tsp.web import Pages


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def tamper(log: Log, statement: object) -> None:
    with log.database.write() as session:
        session.execute(statement)  # type: ignore[call-overload]


def fetcher(log: Log) -> Callable[[str], bytes]:
    pages = Pages(
        name="Enkrat", face="log", origin="http://testserver", support="a@enkrat.test", randomness=log.randomness
    )
    client = TestClient(log_app(pages, log.database, log.key))

    def fetch(path: str) -> bytes:
        answer = client.get(path)
        if answer.status_code != 200:
            raise NotFound("log-answer", "not there")
        return answer.content

    return fetch


@pytest.mark.requirement("SIG-6", "EVD-2")
def test_an_untouched_log_is_sound_from_inside_and_outside(log: Log) -> None:
    log.fill(300)
    log.write(3, writer="idp")
    log.sequencer.step()
    log.write(2)
    inside = verify_database(log.database, log.key)
    assert (inside.sound, inside.size, inside.entries, inside.writers, inside.checkpoints) == (True, 303, 305, 2, 2)
    outside = verify_public(fetcher(log), log.key)
    assert (outside.sound, outside.size, outside.entries, outside.writers) == (True, 303, 303, 2)
    assert verify_database(log.database, log.key, remembered=outside.note).sound


@pytest.mark.requirement("SIG-6", "EVD-2", "EVD-5")
@pytest.mark.parametrize(
    "values",
    [{"content": '{"at":"x"}'}, {"salt": bytes(32)}, {"kind": "other"}, {"writer": "idp"}, {"counter": 99}],
    ids=lambda values: next(iter(values)),
)
def test_a_rewritten_entry_is_caught(log: Log, values: dict[str, object]) -> None:
    log.write(1, writer="idp")
    log.fill(5)
    tamper(log, update(Entry).where(Entry.position == 3).values(**values))
    assert codes(verify_database(log.database, log.key)) == {"entry-rewritten"}


def rewrite_completely(log: Log, position: int) -> None:
    """What somebody with the database does who knows how entries are made."""
    with log.database.write() as session:
        entry = session.scalars(select(Entry).where(Entry.position == position)).one()
        content = json.loads(entry.content)
        content["facts"] = {"number": 4711}
        entry.content = canonical(content).decode()
        leaf = parse_leaf(entry.leaf)
        forged = Leaf(leaf.writer, leaf.counter, leaf.previous, commitment(entry.salt, entry.content.encode()))
        entry.leaf = forged.encode()
        entry.leaf_hash = leaf_hash(entry.leaf)


@pytest.mark.requirement("SIG-6", "EVD-2", "EVD-5")
@pytest.mark.parametrize("position", [0, 3, 4])
def test_an_entry_rewritten_with_its_leaf_is_caught_by_chain_and_tree(log: Log, position: int) -> None:
    log.fill(5)
    rewrite_completely(log, position)
    assert codes(verify_database(log.database, log.key)) == {"writer-chain", "tile-damaged", "tree-root"}
    outside = codes(verify_public(fetcher(log), log.key))
    assert {"tile-damaged", "tree-root"} <= outside


@pytest.mark.requirement("SIG-6", "EVD-2", "EVD-5")
@pytest.mark.parametrize("position", [0, 2, 4])
def test_a_removed_entry_is_caught(log: Log, position: int) -> None:
    log.fill(5)
    tamper(log, delete(Entry).where(Entry.position == position))
    assert "entry-missing" in codes(verify_database(log.database, log.key))
    assert "entry-missing" in codes(verify_public(fetcher(log), log.key))


@pytest.mark.requirement("SIG-6")
def test_an_entry_removed_before_it_had_a_place_is_caught(log: Log) -> None:
    log.fill(2)
    log.write(2)
    tamper(log, delete(Entry).where(Entry.counter == 4))
    assert codes(verify_database(log.database, log.key)) == {"entry-missing"}


@pytest.mark.requirement("EVD-2", "EVD-5")
def test_a_shrunken_log_is_caught_by_what_is_remembered(log: Log) -> None:
    log.fill(3)
    short = verify_database(log.database, log.key)
    log.fill(4)
    remembered = verify_database(log.database, log.key).note
    # Everything of the last four is gone, heads, tiles and the writer's end set back with skill.
    with log.database.write() as session:
        session.execute(delete(Entry).where(Entry.position >= 3))
        session.execute(delete(Publication).where(Publication.size > 3))
        session.execute(delete(TreeHead).where(TreeHead.size > 3))
        session.execute(update(Tile).values(hashes=session.get_one(Tile, (0, 0)).hashes[: 3 * 32]))
        last = session.scalars(select(Entry).where(Entry.position == 2)).one()
        session.execute(update(WriterHead).values(counter=3, last=last.leaf_hash))
    assert verify_database(log.database, log.key).sound
    assert codes(verify_database(log.database, log.key, remembered=remembered)) == {"log-shrunk"}
    assert codes(verify_public(fetcher(log), log.key, remembered=remembered)) == {"log-shrunk"}
    assert verify_database(log.database, log.key, remembered=short.note).sound


@pytest.mark.requirement("EVD-2", "EVD-5")
def test_another_log_under_the_same_key_is_caught(log: Log, make_database: DatabaseFactory) -> None:
    log.fill(3)
    remembered = verify_public(fetcher(log), log.key).note
    forked = Log(make_database(), log.clock, log.randomness)
    forked.fill(6)
    assert verify_public(fetcher(forked), log.key).sound
    assert codes(verify_public(fetcher(forked), log.key, remembered=remembered)) == {"log-forked"}


@pytest.mark.requirement("EVD-2")
def test_a_checkpoint_of_another_key_is_caught(log: Log) -> None:
    log.another("log.1", SoftSigner("thief")).step()
    assert codes(verify_database(log.database, log.key)) == {"checkpoint-signature"}
    assert codes(verify_public(fetcher(log), log.key)) == {"checkpoint-signature"}
    log.fill(1)
    note = verify_database(log.database, log.key).note
    thief = log.another("log.1", SoftSigner("thief")).key
    with pytest.raises(Invalid, match="checkpoint-signature"):
        verify_database(log.database, thief, remembered=note)


def test_a_head_moved_to_another_size_is_caught(log: Log) -> None:
    log.fill(3)
    tamper(log, delete(Publication))
    tamper(log, update(TreeHead).where(TreeHead.size == 3).values(size=2))
    assert {"checkpoint-signature", "tree-root"} <= codes(verify_database(log.database, log.key))


@pytest.mark.requirement("EVD-2")
@pytest.mark.parametrize("level", [0, 1])
def test_a_damaged_tile_is_caught(log: Log, level: int) -> None:
    log.fill(260)
    tamper(log, update(Tile).where(Tile.level == level, Tile.index == 0).values(hashes=bytes(32)))
    assert codes(verify_database(log.database, log.key)) == {"tile-damaged"}
    assert codes(verify_public(fetcher(log), log.key)) == {"tile-damaged"}


CLI = CliRunner()


@pytest.mark.requirement("EVD-2", "SIG-6")
def test_the_command_verifies_a_database_and_remembers(log: Log, tmp_path: Path) -> None:
    log.fill(3)
    memory = tmp_path / "seen"
    options = ["verify", "--db", log.database.url, "--key", log.key.encode(), "--remember", str(memory)]
    first = CLI.invoke(commands.app, options)
    assert (first.exit_code, "first look" in first.output, "the log is sound" in first.output) == (0, True, True)
    assert memory.read_text().startswith("log.example/TEST\n3\n")
    log.fill(1)
    assert "compared with the remembered" in CLI.invoke(commands.app, options).output
    rewrite_completely(log, 2)
    caught = CLI.invoke(commands.app, options)
    assert caught.exit_code == 1
    assert "tree-root size=4" in caught.output
    # A log that is not sound is not remembered.
    assert memory.read_text().startswith("log.example/TEST\n4\n")


@pytest.mark.requirement("EVD-2")
def test_the_command_verifies_a_public_log(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.fill(3)
    fetch = fetcher(log)

    def request(_door: Outbound, method: str, url: str) -> OutboundResponse:
        assert (method, url[:19]) == ("GET", "https://log.example")
        try:
            return OutboundResponse(200, {}, fetch(url[19:]))
        except NotFound:
            return OutboundResponse(404, {}, b"")

    monkeypatch.setattr(Outbound, "request", request)
    options = ["verify", "--url", "https://log.example/", "--key", log.key.encode(), "--remember", str(tmp_path / "s")]
    assert CLI.invoke(commands.app, options).exit_code == 0
    tamper(log, delete(Entry).where(Entry.position == 1))
    assert CLI.invoke(commands.app, options).exit_code == 1


def test_the_command_says_what_it_cannot_do(log: Log, tmp_path: Path) -> None:
    bad_key = CLI.invoke(commands.app, ["verify", "--db", "sqlite://", "--key", "word"])
    assert (bad_key.exit_code, "log-key" in bad_key.output) == (2, True)
    log.fill(1)
    options = ["verify", "--db", log.database.url, "--key", log.key.encode()]
    unwritable = CLI.invoke(commands.app, [*options, "--remember", "/dev/null/seen"])
    assert (unwritable.exit_code, "cannot be read or written" in unwritable.output) == (2, True)
    missing = tmp_path / "missing.toml"
    assert CLI.invoke(commands.app, ["verify", "--config", str(missing)]).exit_code == 2


@pytest.mark.requirement("EVD-2")
def test_an_installation_knows_its_log(log: Log, tmp_path: Path) -> None:
    settings = load_settings().model_copy(update={"var": tmp_path})
    assert log_origin(settings) == "localhost:8406/TEST"
    with pytest.raises(NotFound, match="log-key"):
        installed_key(settings)
    publish_key(settings, log.key)
    assert installed_key(settings) == log.key
    assert sequencer_limits(settings).interval == 0.5
