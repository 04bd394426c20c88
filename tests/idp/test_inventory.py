"""The inventory of certificates for machines: who may ask, what is answered, and that it is written down."""

import json
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import pem
from sqlalchemy import select

from tests.ca.list_kit import Lists
from tests.conftest import TokenFactory
from tests.idp.login_kit import ISSUER, World, make_world
from tests.idp.test_certificates import access
from tsp.audit.tables import Entry
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness

URL = f"{ISSUER}/inventory/certificates"


@pytest.fixture
def world(
    tmp_path: Path, database: Database, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness
) -> World:
    return make_world(tmp_path, database, token_factory("identity"), clock, randomness)


@pytest.fixture
def lists(world: World, tmp_path: Path) -> Lists:
    return Lists(world.database, world.clock, tmp_path)


def looks(world: World) -> list[dict[str, Any]]:
    """What the log says of looks into the inventory."""
    with world.database.read() as session:
        found = session.scalars(select(Entry.content).where(Entry.kind.like("inventory-%")).order_by(Entry.id))
        return [json.loads(content)["facts"] for content in found]


@pytest.mark.requirement("CA-1", "CA-5", "EVD-2")
def test_an_auditor_pages_through_the_inventory_and_reads_one(world: World, lists: Lists) -> None:
    serials = {serial for serial, _ in lists.issue(5, subject="ana")}
    ((other, der),) = lists.issue(subject="eva")
    headers = access(world, "inventory")
    first = world.http.get(URL, headers=headers, params={"holder": "ana", "limit": "3"})
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-store")
    more = {"holder": "ana", "limit": "3", "after": first.json()["after"]}
    second = world.http.get(URL, headers=headers, params=more).json()
    assert second["after"] == ""
    told = [*first.json()["certificates"], *second["certificates"]]
    assert {one["serial"] for one in told} == serials
    assert {one["state"] for one in told} == {"valid"}
    one = world.http.get(f"{URL}/{other}", headers=headers).json()
    assert pem.unarmor(one.pop("pem").encode())[2] == der
    same = world.http.get(URL, headers=headers, params={"subject": one["subject"], "holder": "eva"}).json()
    assert same["certificates"] == [one]
    assert looks(world) == [
        {"organisation": "test-bank", "by": "holder limit", "found": "3"},
        {"organisation": "test-bank", "by": "after holder limit", "found": "2"},
        {"organisation": "test-bank", "certificate": other},
        {"organisation": "test-bank", "by": "holder subject", "found": "1"},
    ]


@pytest.mark.requirement("SEC-2")
def test_nobody_looks_without_the_scope(world: World, lists: Lists) -> None:
    ((serial, _),) = lists.issue(subject="ana")
    for url in (URL, f"{URL}/{serial}"):
        nobody, other = world.http.get(url), world.http.get(url, headers=access(world, "identification-keys"))
        assert (nobody.status_code, other.status_code) == (401, 403)
        assert nobody.headers["www-authenticate"].startswith("Bearer ")
        assert world.http.post(url, headers=access(world, "inventory")).status_code in {404, 405}
    assert looks(world) == []


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ("?state=good", 400, "state-unknown"),
        ("?colour=red", 400, "parameter-unknown"),
        ("?limit=501", 400, "page-size-unfit"),
        ("?limit=-1", 400, "page-size-unfit"),
        ("?limit=5&limit=6", 400, "parameter-twice"),
        ("?after=!", 400, "cursor-malformed"),
        ("?since=never", 400, "moment-malformed"),
        ("?since=0001-01-01T00:00:00%2B14:00", 400, "moment-malformed"),
        ("?until=9999-12-31T23:59:59-14:00", 400, "moment-malformed"),
        ("?subject=x", 400, "subject-malformed"),
        ("/zz", 400, "serial-malformed"),
        ("/00", 404, "certificate-unknown"),
    ],
)
def test_bad_questions_are_refused_and_leave_nothing(world: World, asked: str, status: int, code: str) -> None:
    answer = world.http.get(URL + asked, headers=access(world, "inventory"))
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert looks(world) == []
