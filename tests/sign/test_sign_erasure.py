"""Documents at rest are sealed, are erased when their time has come, and leave only the evidence."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.sign.street import QTSA, Street, Visitor
from tests.sign.test_sign_resume import finished, state_of
from tsp.core.errors import Invalid
from tsp.sign.documents import ORIGINAL
from tsp.sign.finishing import Finishing
from tsp.sign.requests import SigningRequests
from tsp.sign.tables import State

pytestmark = pytest.mark.requirement("SEC-1", "SEC-2")


def files(street: Street) -> list[Path]:
    return sorted(p for p in (street.directory / "documents").rglob("*") if p.is_file())


def test_nothing_readable_lies_on_the_disk(street: Street, ana: Visitor, contract: bytes) -> None:
    signed, waits = ana.bring(contract), ana.bring(contract)
    ana.approve(signed)
    ana.press(waits, "approve", kind="qualified")
    assert [p.suffix.partition("-")[0] for p in files(street)].count(".final") == 1
    assert len(files(street)) == 3
    secrets = (b"%PDF", b"Pogodba", "žitu".encode(), "Žnidaršič".encode(), contract[:16])
    for path in files(street):
        assert path.stat().st_mode & 0o777 == 0o600
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets)


def test_database_knows_no_names(street: Street, ana: Visitor, contract: bytes) -> None:
    ana.approve(ana.bring(contract))
    with street.database.engine.connect() as connection:
        tables = ("signing_session", "site_login", "site_authorization")
        rows = [r for t in tables for r in connection.exec_driver_sql(f"SELECT * FROM {t}")]  # noqa: S608
    assert rows
    text = repr(rows)
    assert not any(secret in text for secret in ("Pogodba", "Žnida", "idar", "eyJ"))
    assert not any(value in text for value in dict(ana.client.cookies).values())


def test_sealed_file_of_another_document_cannot_be_opened(
    street: Street, ana: Visitor, contract: bytes, requests: SigningRequests
) -> None:
    one, two = (state_of(street, ana.bring(contract)).id for _ in range(2))
    first, second = (next(p for p in files(street) if p.name.startswith(f"{i}.")) for i in (one, two))
    second.write_bytes(first.read_bytes())
    assert requests.documents.get(one, ORIGINAL) == contract
    with pytest.raises(Invalid) as refused:
        requests.documents.get(two, ORIGINAL)
    assert refused.value.code == "sealed-damaged"


def test_cancelled_document_is_gone_at_once(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    assert ana.press(path, "delete").headers["location"] == "/signatures"
    assert files(street) == []
    assert ana.get(path).status_code == 404
    assert "Tu še ni podpisov" in ana.get("/signatures").text


def test_deleted_signed_document_keeps_its_evidence(street: Street, ana: Visitor, contract: bytes) -> None:
    path = ana.bring(contract)
    ana.approve(path)
    ana.press(path, "delete")
    assert files(street) == []
    page = ana.get(path).text
    assert "Dokument je bil tu izbrisan. Dokazilo ostane." in page
    assert f"{path}/download" not in page
    assert ana.get(f"{path}/download").status_code == 404
    assert ana.get(f"{path}/evidence").status_code == 200
    assert "dokument izbrisan" in ana.get("/signatures").text


def test_document_is_erased_when_its_time_has_come(
    street: Street, ana: Visitor, contract: bytes, requests: SigningRequests
) -> None:
    signed, unsigned = ana.bring(contract, "Prva.pdf"), ana.bring(contract, "Druga.pdf")
    street.clock.advance(days=20)
    ana.log_in()
    ana.approve(signed)
    assert requests.sweep() == 0
    street.clock.advance(days=10.1)
    assert requests.sweep() == 1
    ana.log_in()
    assert ana.get(unsigned).status_code == 404
    assert ana.get(f"{signed}/download").status_code == 200
    street.clock.advance(days=20)
    assert requests.sweep() == 1
    assert requests.sweep() == 0
    ana.log_in()
    assert files(street) == []
    assert finished(ana, signed)
    assert ana.get(f"{signed}/evidence").status_code == 200
    assert state_of(street, signed).state == State.FINISHED


def test_document_of_a_session_that_waits_is_kept(
    street: Street, ana: Visitor, contract: bytes, requests: SigningRequests
) -> None:
    path = ana.bring(contract)
    street.door.down.add(QTSA)
    ana.approve(path)
    street.clock.advance(days=1)
    assert requests.sweep() == 0
    assert len(files(street)) == 2


def test_files_of_a_finished_session_that_a_crash_kept_go_at_its_end(
    street: Street,
    ana: Visitor,
    contract: bytes,
    requests: SigningRequests,
    finishing: Finishing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        """Stands for the end of a process between `finished` and the erasing."""

    def die(*_arguments: object, **_named: object) -> None:
        raise Killed

    path = ana.bring(contract)
    street.door.down.add(QTSA)
    ana.approve(path)
    street.door.down.clear()
    with monkeypatch.context() as patch:
        patch.setattr(requests.documents, "erase", die)
        with pytest.raises(Killed):
            finishing.resume()
    assert state_of(street, path).state == State.FINISHED
    assert finished(ana, path)
    assert ana.get(f"{path}/download").status_code == 200
    assert len(files(street)) == 3
    assert (finishing.resume(), requests.sweep()) == (0, 0)
    street.clock.advance(days=31)
    assert requests.sweep() == 1
    assert files(street) == []
    ana.log_in()
    assert ana.get(f"{path}/evidence").status_code == 200


def test_what_a_crash_left_behind_is_swept_up(
    street: Street, ana: Visitor, contract: bytes, requests: SigningRequests
) -> None:
    path = ana.bring(contract)
    kept = files(street)
    requests.documents.put("A" * 22, ORIGINAL, contract)
    torn = kept[0].parent / f".{kept[0].name}.torn"
    torn.write_bytes(b"half")
    requests.sweep()
    assert len(files(street)) == 3
    old = (street.clock.now() - timedelta(hours=2)).timestamp()
    for file in files(street):
        os.utime(file, (old, old))
    requests.sweep()
    assert files(street) == kept
    assert ana.get(path).status_code == 200
