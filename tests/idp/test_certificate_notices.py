"""People see every certificate in their name and are told of each, once (EVD-6)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import pem
from starlette.testclient import TestClient

from tests.ca.list_kit import Lists
from tests.conftest import TokenFactory
from tests.idp.login_kit import ISSUER, Person, World, make_world, register
from tests.idp.test_certificates import account_id, log_in, new_client
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import Randomness
from tsp.core.sealing import Sealer
from tsp.idp.accounts.notices import Notices
from tsp.idp.accounts.texts import Texts
from tsp.idp.certificates.telling import MOST_LISTED, CertificateNotices
from tsp.notify.outbox import Outbox
from tsp.web import Languages

PAGE = f"{ISSUER}/certificates/all"


@pytest.fixture
def world(
    tmp_path: Path, database: Database, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness
) -> World:
    return make_world(tmp_path, database, token_factory("identity"), clock, randomness)


@pytest.fixture
def lists(world: World, tmp_path: Path) -> Lists:
    return Lists(world.database, world.clock, tmp_path)


@pytest.fixture
def person(world: World) -> Person:
    return register(world)


@pytest.fixture
def teller(world: World) -> CertificateNotices:
    """As the identity provider makes it (`idp.app.idp_app`)."""
    token, randomness, clock = world.token, world.randomness, world.clock
    outbox = Outbox(Sealer(token.aead_key("outbox"), randomness, "outbox"), randomness, clock)
    notices = Notices(Sealer(token.aead_key("personal-data"), randomness, "personal-data"), outbox)
    texts = Texts(Languages(), name=world.settings.name, support=world.settings.provider.support_email)
    return CertificateNotices(world.database, clock, notices, texts, after=timedelta(days=1), page=PAGE)


@pytest.mark.requirement("EVD-6")
def test_a_person_pages_through_all_of_them_and_keeps_one(world: World, lists: Lists, person: Person) -> None:
    issued = lists.issue(25, subject=account_id(world))
    ((other, _),) = lists.issue(subject="somebody-else")
    client = new_client(world)
    browser = log_in(world, person, client)
    page = browser.get(browser.get(f"{ISSUER}/certificates").links("/certificates/all")[0])
    seen = page.expect("idp.certificates-all").words()
    older = browser.get(page.links("after=")[0]).expect("idp.certificates-all")
    seen += older.words()
    assert all(serial in seen for serial, _ in issued)
    assert other not in seen
    assert older.links("after=") == []
    serial, der = issued[0]
    kept = client.get(f"/certificates/{serial}.pem")
    assert kept.headers["content-disposition"] == f'attachment; filename="{serial}.pem"'
    assert pem.unarmor(kept.content)[2] == der
    assert client.get(f"/certificates/{other}.pem").status_code == 404
    assert client.get("/certificates/all?after=x").status_code == 400


def test_without_a_login_nothing_is_shown(world: World, lists: Lists) -> None:
    ((serial, _),) = lists.issue(subject="somebody")
    client = TestClient(world.http.app, base_url=ISSUER, follow_redirects=False)
    for path in ("/certificates/all", f"/certificates/{serial}.pem"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/certificates")


@pytest.mark.requirement("EVD-6")
def test_one_mail_tells_of_a_day_and_no_certificate_twice(
    world: World, lists: Lists, person: Person, teller: CertificateNotices
) -> None:
    ((first, _),) = lists.issue(subject=account_id(world))
    lists.issue(subject=None)
    lists.issue(subject="an-account-that-was-erased")
    before = len(world.messages("mail"))
    world.clock.advance(seconds=86_399)
    assert teller.tell_due() == 0
    ((second, _),) = lists.issue(subject=account_id(world))
    world.clock.advance(seconds=1)
    assert teller.tell_due() == 3
    [mail] = world.messages("mail")[before:]
    assert first in mail
    assert second in mail
    assert PAGE in mail
    world.clock.advance(days=3)
    assert teller.tell_due() == 0
    assert len(world.messages("mail")) == before + 1


@pytest.mark.requirement("EVD-6")
def test_five_processes_tell_once(world: World, lists: Lists, person: Person, teller: CertificateNotices) -> None:
    lists.issue(4, subject=account_id(world))
    world.clock.advance(days=1)
    before = len(world.messages("mail"))
    with ThreadPoolExecutor(5) as threads:
        told = [one.result() for one in [threads.submit(teller.tell_due) for _ in range(5)]]
    assert sum(told) == 4
    assert len(world.messages("mail")) == before + 1


def test_a_long_list_is_cut_and_says_how_many_there_were(
    world: World, lists: Lists, person: Person, teller: CertificateNotices
) -> None:
    serials = [serial for serial, _ in lists.issue(MOST_LISTED + 3, subject=account_id(world))]
    world.clock.advance(days=1)
    assert teller.tell_due() == MOST_LISTED + 3
    mail = world.messages("mail")[-1]
    assert sum(serial in mail for serial in serials) == MOST_LISTED
    assert str(MOST_LISTED + 3) in mail
