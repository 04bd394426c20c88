"""Copies of a database that is written to, on SQLite and on PostgreSQL; the manifest; the sealed secrets."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, inspect, select

from tests.audit.audit_kit import Log
from tests.backup.conftest import Kept
from tsp.audit.tables import Entry, latest_signed
from tsp.audit.verify import verify_database
from tsp.backup import manifest
from tsp.backup.copies import copied, empty, put_back
from tsp.backup.manifest import LogState, Manifest, Part
from tsp.backup.sealed import seal, unseal
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, Refused, TspError, Unavailable
from tsp.core.randomness import Randomness


def silent(_done: int, _whole: int) -> None:
    """Nobody watches."""


@pytest.mark.requirement("OPS-1", "EVD-2")
def test_a_copy_is_one_picture_however_much_is_written_meanwhile(
    database: Database, bare_database: Database, clock: SettableClock, randomness: Randomness, tmp_path: Path
) -> None:
    log, stop, grown = Log(database, clock, randomness), threading.Event(), threading.Event()
    log.fill(300)

    def write() -> None:
        while not stop.is_set():
            log.write(3)
            log.sequencer.step()
            grown.set()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        assert grown.wait(20)
        with copied(database, tmp_path / "copy", silent) as session:
            head = latest_signed(session)
            entries = session.scalar(select(func.count()).select_from(Entry))
            grown.clear()
            assert grown.wait(20), "the log goes on growing meanwhile"
            assert latest_signed(session) == head, "the picture does not move"
    finally:
        stop.set()
        writing.join()
    assert head is not None and head.size > 300
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy"]
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    put_back(tmp_path / "copy", bare_database)
    report = verify_database(bare_database, log.key)
    assert report.sound
    assert (report.entries, report.note) == (entries, head.note)
    empty(bare_database)
    if not bare_database.is_sqlite:
        assert inspect(bare_database.engine).get_table_names() == []
        put_back(tmp_path / "copy", bare_database)  # nothing is left that would be in the way
        assert verify_database(bare_database, log.key).sound


@pytest.mark.requirement("OPS-1")
def test_a_database_that_holds_something_is_not_overwritten(database: Database, tmp_path: Path) -> None:
    with copied(database, tmp_path / "copy", silent):
        pass
    with pytest.raises(Conflict, match="target-not-empty"):
        put_back(tmp_path / "copy", database)


@pytest.mark.requirement("OPS-1")
def test_octets_that_are_no_copy_leave_the_database_empty(bare_database: Database, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"PGDMP or SQLite format 3, but not really")
    with pytest.raises(Unavailable):
        put_back(tmp_path / "copy", bare_database)
    assert not inspect(bare_database.engine).get_table_names()


def test_without_the_programs_the_error_says_what_to_install(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if database.is_sqlite:
        with copied(database, tmp_path / "copy", silent):
            return
    with pytest.raises(Unavailable, match="postgresql-client"), copied(database, tmp_path / "copy", silent):
        pass


# --- the manifest -------------------------------------------------------------------------------

_texts = st.text(max_size=20)
_paths = st.text("abc.-/", min_size=1, max_size=12).filter(lambda p: not p.startswith("/") and ".." not in p)
_manifests = st.builds(
    Manifest,
    made_at=_texts,
    installation=_texts,
    mode=_texts,
    database=st.sampled_from(["sqlite", "postgresql"]),
    schema=_texts,
    tokens=st.sampled_from(["copied", "vendor"]),
    secrets=st.sampled_from(["sealed", "left-out"]),
    log=st.builds(LogState, origin=_texts, size=st.integers(0, 2**60), root=_texts, note=_texts),
    missing=st.lists(_texts, max_size=3),
    parts=st.dictionaries(_paths, st.builds(Part, st.integers(0, 2**60), _texts), max_size=4),
)


@given(_manifests)
def test_a_manifest_is_read_as_it_was_written(made: Manifest) -> None:
    assert manifest.parse(made.encode()) == made


@given(st.binary(max_size=200) | _manifests.map(lambda m: m.encode()[:-2]))
def test_other_octets_are_no_manifest(data: bytes) -> None:
    with pytest.raises(Invalid, match="backup-damaged"):
        manifest.parse(data)


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "a/../../b", ""])
def test_a_part_lies_in_the_backup_and_nowhere_else(path: str) -> None:
    made = Manifest("", "", "", "sqlite", "", "copied", "sealed", LogState(""), parts={path: Part(0, "")})
    with pytest.raises(Invalid, match="backup-damaged"):
        manifest.parse(made.encode())


# --- sealed secrets -----------------------------------------------------------------------------


@pytest.mark.requirement("SEC-1")
def test_secrets_open_with_their_passphrase_alone(randomness: Randomness) -> None:
    files = {"pins/ca.pin": b"123456", "binary": bytes(range(256))}
    sealed = seal(files, "correct horse battery", randomness)
    assert unseal(sealed, "correct horse battery") == files
    assert b"123456" not in sealed
    with pytest.raises(Refused, match="passphrase-wrong"):
        unseal(sealed, "correct horse batterz")
    with pytest.raises(Refused, match="passphrase-wrong"):
        unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), "correct horse battery")


@given(st.binary(max_size=60))
def test_octets_that_are_not_sealed_secrets_are_refused(data: bytes) -> None:
    with pytest.raises(TspError, match="backup-damaged"):
        unseal(data, "correct horse battery")


@pytest.mark.requirement("OPS-1")
def test_every_version_of_what_was_promised_is_in_the_backup(kept: Kept) -> None:
    """EN 319 411-1, 5.2: a certificate is governed by the version that was in force when it was issued."""
    copied = kept.backup / "installation" / "repository" / "documents"
    lying = kept.settings.var / "repository" / "documents"
    assert {file.name for file in copied.glob("*.json")} == {"cps.1.json", "pds.1.json", "tsa.1.json"}
    for file in copied.glob("*.json"):
        assert file.read_bytes() == (lying / file.name).read_bytes()
