"""A disk that takes no more: what is refused, that nothing is half written, and that room is enough to go on.

Two real limits that need no rights: SQLite's own bound on its file (SQLITE_FULL), and the kernel's bound on the
size of a file that this process may write (RLIMIT_FSIZE, EFBIG), which for a writer is a disk that ends there.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, text

from tests.faults.faces import Faces
from tests.formats.pdf_samples import classic, objects
from tsp.core.database import Database
from tsp.core.errors import Unavailable
from tsp.core.files import named_storage, write_private
from tsp.engine.tables import Evidence, Signature


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """No file of this process can grow over `size` octets."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def database_full(database: Database) -> Iterator[None]:
    """The database takes no page more, in every connection; a write-ahead log does not hide that."""

    def bound(connection: object, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]  # a sqlite3 connection

    event.listen(database.engine, "checkout", bound)
    try:
        yield
    finally:
        event.remove(database.engine, "checkout", bound)
        database.engine.dispose()


@contextmanager
def documents_full(faces: Faces) -> Iterator[None]:
    """The disk of the documents has no room for one; the database's has."""
    documents = faces.street.site.requests.documents
    put = documents.put

    def narrow(document_id: str, part: str, content: bytes) -> None:
        with no_file_over(500):
            put(document_id, part, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "put", narrow)
        yield


def parts(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*") if path.is_file())


@pytest.mark.requirement("OPS-1", "SIG-7")
def test_a_document_that_finds_no_room_is_not_there_and_comes_again(faces: Faces) -> None:
    pdf = classic(objects(pages=1))
    documents = faces.street.directory / "documents"
    before = parts(documents)
    with documents_full(faces):
        refused = faces.ana.upload(pdf)
        assert refused.status_code == 503
        assert 'data-code-of-error="storage-unavailable"' in refused.text
        assert parts(documents) == before
        assert faces.sign() == "200"
    path = faces.ana.bring(pdf)
    faces.ana.approve(path)
    assert 'data-page="sign.result"' in faces.ana.get(path).text


@pytest.mark.requirement("SIG-1", "SIG-7")
def test_a_finished_file_that_finds_no_room_waits_with_its_signature(faces: Faces) -> None:
    """Uploaded and frozen with room; the finished file is larger than both."""
    path = faces.ana.bring(classic(objects(pages=1)))
    away = faces.ana.press(path, "approve", kind="qualified")
    back = faces.street.provider.answer(away.headers["location"])
    documents = faces.street.directory / "documents"
    with documents_full(faces):
        faces.ana.get(back)
    page = faces.ana.get(path).text
    assert 'data-page="sign.waiting"' in page
    assert not [name for name in parts(documents) if "final" in name or "/." in name]
    assert faces.street.site.finishing.resume() == 1
    assert 'data-page="sign.result"' in faces.ana.get(path).text
    with faces.street.database.read() as session:
        assert session.query(Signature).count() == session.query(Evidence).count() == 1


@pytest.mark.requirement("OPS-1", "SIG-1")
def test_a_full_database_refuses_whole_transactions_and_goes_on_with_room(faces: Faces) -> None:
    if not faces.street.database.is_sqlite:
        # PostgreSQL says DiskFull, an OperationalError as here; its disk cannot be bounded without rights.
        from psycopg import errors

        assert issubclass(errors.DiskFull, errors.OperationalError)
        return
    path = faces.ana.bring(classic(objects(pages=1)))
    big = "x" * 20_000
    with database_full(faces.street.database):
        with pytest.raises(Unavailable, match="database-unavailable"), faces.street.database.write() as session:
            session.execute(text("CREATE TABLE filler AS SELECT :big AS big"), {"big": big})
        assert faces.sign() == "200"  # what is there can be read
        assert faces.ana.get(path).status_code == 200
        answers = {faces.tsa() for _ in range(40)} | {faces.idp() for _ in range(40)}
        assert answers & {"system_failure", "503 temporarily_unavailable"}
        assert answers <= {"granted", "201", "system_failure", "503 temporarily_unavailable"}
        assert faces.ocsp() == "SUCCESSFUL"
    assert (faces.tsa(), faces.idp()) == ("granted", "201")
    faces.ana.approve(path)
    assert 'data-page="sign.result"' in faces.ana.get(path).text
    with faces.street.database.read() as session:
        assert session.query(Signature).count() == session.query(Evidence).count() == 1


def test_what_the_disk_refuses_has_a_name_and_leaves_nothing(tmp_path: Path) -> None:
    write_private(tmp_path / "kept", b"old")
    with no_file_over(10), pytest.raises(Unavailable) as caught, named_storage():
        write_private(tmp_path / "kept", b"much longer than that")
    assert (caught.value.code, caught.value.facts) == ("storage-unavailable", {"cause": "EFBIG"})
    with pytest.raises(Unavailable) as caught, named_storage(), Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert caught.value.facts == {"cause": "ENOSPC"}
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("kept", b"old")]
    with pytest.raises(FileNotFoundError), named_storage():
        (tmp_path / "missing").read_bytes()
