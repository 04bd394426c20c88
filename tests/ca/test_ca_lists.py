"""Lists in parts, delta lists and last lists, under the eyes of other people's tools."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.ca.ca_kit import NOW, crl_findings, issuer
from tests.ca.list_kit import ISSUER, Lists, at
from tests.conftest import DatabaseFactory
from tsp.ca.crl import NEVER, REASONS, CrlForm, RevokedCertificate, entry
from tsp.ca.crl_reading import CrlReading, crl_facts
from tsp.ca.crl_writing import write_crl
from tsp.ca.http import repository_app
from tsp.ca.lint_crl import lint_crl
from tsp.ca.lists import Scope, state
from tsp.ca.publication import CrlTerms, make_crl
from tsp.ca.revocation import revoke
from tsp.ca.store import to_pem
from tsp.ca.tables import Certificate
from tsp.core.clock import SettableClock, SystemClock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, Refused
from tsp.core.settings import Crl, default_config, load_settings


def withdraw(lists: Lists, serial: str, reason: str = "keyCompromise") -> None:
    with lists.database.write() as session:
        revoke(session, ISSUER, serial, reason, lists.clock.now())


def point_of(certificate: bytes) -> str:
    url: str = asn1_x509.Certificate.load(certificate).crl_distribution_points[0].url
    return url


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def openssl_verify(lists: Lists, certificate: bytes, crl: Path) -> subprocess.CompletedProcess[str]:
    """`openssl verify -crl_check`, with this list and no other."""
    leaf, pem = lists.directory / "leaf.pem", lists.directory / "list.pem"
    leaf.write_bytes(to_pem(certificate))
    assert run("openssl", "crl", "-inform", "DER", "-in", crl, "-out", pem).returncode == 0
    here = ("-CAfile", lists.directory / "root.pem", "-untrusted", lists.directory / "ca.pem", "-CRLfile", pem)
    return run("openssl", "verify", *here, "-crl_check", "-attime", at(lists.clock.now()), leaf)


@pytest.mark.requirement("CA-1", "OCSP-2")
def test_each_part_covers_what_names_it_and_says_so(database: Database, clock: SettableClock, tmp_path: Path) -> None:
    lists = Lists(database, clock, tmp_path, shards=3)
    issued = lists.issue(12)
    for serial, _ in issued[::2]:
        withdraw(lists, serial)
    assert lists.publisher().publish() == [f"{ISSUER}-part-1", f"{ISSUER}-part-2", f"{ISSUER}-part-3"]
    published = {f"{lists.urls.repository}/{file.name}": file.read_bytes() for file in lists.lists()}
    assert set(published) == {lists.urls.crl(ISSUER, shard) for shard in (1, 2, 3)}
    seen = set()
    for number, (serial, der) in enumerate(issued):
        crl = x509.load_der_x509_crl(published[point_of(der)])
        names = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        assert names.critical
        assert names.value.only_contains_user_certs
        assert names.value.full_name is not None
        assert [name.value for name in names.value.full_name] == [point_of(der)]
        found = crl.get_revoked_certificate_by_serial_number(int(serial, 16))
        assert (found is not None) is (number % 2 == 0)
        seen.add(point_of(der))
    assert len(seen) > 1
    assert sum(CrlReading.of(der).count() for der in published.values()) == 6
    for der in published.values():
        assert crl_findings(der) == set()
        assert lint_crl(der, lists.key.facts, lists.key.public) == []


@pytest.mark.requirement("CA-1", "OCSP-2")
@pytest.mark.parametrize("shards", [0, 2])
def test_openssl_verifies_by_the_list_that_a_certificate_names(
    database: Database, clock: SettableClock, tmp_path: Path, shards: int
) -> None:
    lists = Lists(database, clock, tmp_path, shards=shards)
    (bad, bad_der), (_, good_der) = lists.issue(2)
    withdraw(lists, bad)
    lists.publisher().publish()
    right = [tmp_path / point_of(der).rpartition("/")[2] for der in (bad_der, good_der)]
    refused = openssl_verify(lists, bad_der, right[0])
    assert "certificate revoked" in refused.stderr
    assert openssl_verify(lists, good_der, right[1]).returncode == 0
    for other in set(lists.lists()) - {right[1]}:
        # A part that the certificate does not name says nothing of it.
        assert "scope" in openssl_verify(lists, good_der, other).stderr


@pytest.mark.requirement("CA-1", "OCSP-2")
@pytest.mark.parametrize("shards", [0, 1])
def test_gnutls_and_nss_take_the_list(database: Database, tmp_path: Path, shards: int) -> None:
    # Both judge by the machine's own clock.
    lists = Lists(database, SettableClock(SystemClock().now()), tmp_path, shards=shards)
    for serial, _ in lists.issue(3):
        withdraw(lists, serial, "superseded")
    (name,) = lists.publisher().publish()
    crl, pem = tmp_path / f"{name}.crl", tmp_path / "list.pem"
    assert run("openssl", "crl", "-inform", "DER", "-in", crl, "-out", pem).returncode == 0
    checked = run("certtool", "--verify-crl", "--load-ca-certificate", tmp_path / "ca.pem", "--infile", pem)
    assert "Revoked certificates (3)" in checked.stdout
    assert "Verification output: Verified." in checked.stdout, checked.stdout
    strange = run("certtool", "--verify-crl", "--load-ca-certificate", tmp_path / "root.pem", "--infile", pem)
    assert "Verification output: Not verified." in strange.stdout
    nss = f"sql:{tmp_path / 'nss'}"
    (tmp_path / "nss").mkdir()
    assert run("certutil", "-d", nss, "-N", "--empty-password").returncode == 0
    for known in ("root", "ca"):
        added = run("certutil", "-d", nss, "-A", "-n", known, "-t", "C,C,C", "-i", tmp_path / f"{known}.pem")
        assert added.returncode == 0, added.stderr
    imported = run("crlutil", "-d", nss, "-I", "-i", crl)
    if shards:
        # NSS does not know the extension that RFC 5280, 5.2.5 wants critical: it takes whole lists alone.
        assert "SEC_ERROR_CRL_UNKNOWN_CRITICAL_EXTENSION" in imported.stderr
        return
    assert imported.returncode == 0, imported.stderr
    assert "ca " in run("crlutil", "-d", nss, "-L").stdout


@pytest.mark.requirement("CA-1", "OCSP-2")
def test_expired_certificates_stay_and_the_list_says_since_when(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    lists = Lists(database, clock, tmp_path)
    ((serial, _),) = lists.issue()
    withdraw(lists, serial)
    clock.advance(minutes=60 * 24 * 400)
    lists.publisher().publish()
    reading = CrlReading.of((tmp_path / f"{ISSUER}.crl").read_bytes())
    assert reading.count() == 1
    stated = lists.key.facts.not_before.strftime("%Y%m%d%H%M%SZ").encode()
    assert reading.extensions["2.5.29.60"] == (False, b"\x18\x0f" + stated)


@pytest.mark.requirement("CA-1", "OCSP-2")
def test_a_delta_list_holds_what_came_after_its_base(database: Database, clock: SettableClock, tmp_path: Path) -> None:
    lists = Lists(database, clock, tmp_path, shards=1, delta=True)
    (old, _), (new, _) = lists.issue(2)
    withdraw(lists, old)
    clock.advance(minutes=90)
    at_work = lists.publisher()
    assert at_work.publish() == [f"{ISSUER}-part-1"]
    assert at_work.publish() == []
    whole, delta = tmp_path / f"{ISSUER}-part-1.crl", tmp_path / f"{ISSUER}-part-1-delta.crl"
    base = crl_facts(whole.read_bytes())[0] - 1  # the first complete list, from which the second one's delta goes on
    clock.advance(minutes=1)
    withdraw(lists, new)
    assert at_work.publish() == [f"{ISSUER}-part-1"]
    complete, changes = (x509.load_der_x509_crl(file.read_bytes()) for file in (whole, delta))
    assert {one.serial_number for one in complete} == {int(old, 16), int(new, 16)}
    assert [one.serial_number for one in changes] == [int(new, 16)]
    indicator = changes.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert (indicator.critical, indicator.value.crl_number) == (True, base)
    numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in (complete, changes)]
    assert numbers[0] == numbers[1] > base
    freshest = complete.extensions.get_extension_for_class(x509.FreshestCRL).value
    assert [name.value for point in freshest for name in point.full_name or ()] == [
        lists.urls.crl(ISSUER, 1, delta=True)
    ]
    points = [crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint) for crl in (complete, changes)]
    assert points[0] == points[1]
    for file in (whole, delta):
        assert crl_findings(file.read_bytes()) == set()
        assert lint_crl(file.read_bytes(), lists.key.facts, lists.key.public) == []


@pytest.mark.requirement("CA-1", "OCSP-2")
@pytest.mark.parametrize("shards", [0, 1])
def test_openssl_goes_on_from_an_old_list_with_the_delta(
    database: Database, clock: SettableClock, tmp_path: Path, shards: int
) -> None:
    lists = Lists(database, clock, tmp_path, shards=shards, delta=True)
    (bad, bad_der), (_, good_der) = lists.issue(2)
    (name,) = lists.publisher().publish()
    old = (tmp_path / f"{name}.crl").read_bytes()
    clock.advance(minutes=90)
    withdraw(lists, bad)
    lists.publisher().publish()
    both = b""
    for der in (old, (tmp_path / f"{name}-delta.crl").read_bytes()):
        (tmp_path / "one.der").write_bytes(der)
        both += run("openssl", "crl", "-inform", "DER", "-in", tmp_path / "one.der").stdout.encode()
    for der, words in ((bad_der, "certificate revoked"), (good_der, "leaf.pem: OK")):
        (tmp_path / "leaf.pem").write_bytes(to_pem(der))
        (tmp_path / "both.pem").write_bytes(both)
        here = ("-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "ca.pem", "-CRLfile", tmp_path / "both.pem")
        flags = ("-crl_check", "-use_deltas", "-extended_crl", "-attime", at(clock.now()))
        done = run("openssl", "verify", *here, *flags, tmp_path / "leaf.pem")
        assert words in done.stdout + done.stderr


@pytest.mark.requirement("CA-1")
def test_numbers_rise_strictly_whoever_publishes(database: Database, clock: SettableClock, tmp_path: Path) -> None:
    """Five processes with no file lock in common: the database alone gives the numbers."""
    lists = Lists(database, clock, tmp_path)
    places = [tmp_path / f"machine-{number}" for number in range(5)]
    numbers = []
    for serial, _ in lists.issue(2):
        withdraw(lists, serial)
        ready = threading.Barrier(5)

        def publish(place: Path, ready: threading.Barrier = ready) -> int:
            place.mkdir(exist_ok=True)
            ready.wait()
            lists.publisher(place).publish()
            return crl_facts((place / f"{ISSUER}.crl").read_bytes())[0] if list(place.glob("*.crl")) else 0

        with ThreadPoolExecutor(5) as pool:
            numbers.append([number for number in pool.map(publish, places) if number])
    for together in numbers:
        assert len(set(together)) == len(together)
    assert min(numbers[1]) > max(number for number in numbers[0] if number not in numbers[1])
    with database.read() as session:
        known = state(session, Scope(ISSUER))
    assert known is not None
    assert known.published == max(numbers[1])


@pytest.mark.requirement("CA-1")
def test_a_list_never_comes_after_a_newer_one(database: Database, clock: SettableClock, tmp_path: Path) -> None:
    lists = Lists(database, clock, tmp_path)
    slow, fast = lists.publisher(), lists.publisher()
    overtaken = []

    class Slow:
        public_spki = lists.key.key.public_spki

        def sign_digest(self, digest: bytes) -> bytes:
            if not overtaken:
                overtaken.append(digest)
                fast._published(Scope(ISSUER))
            return lists.key.key.sign_digest(digest)

    slow._issuers = {ISSUER: type(lists.key)(lists.key.facts, Slow())}
    assert slow._published(Scope(ISSUER)) is False
    number, _, _ = crl_facts((tmp_path / f"{ISSUER}.crl").read_bytes())
    with database.read() as session:
        known = state(session, Scope(ISSUER))
    assert known is not None
    assert known.published == known.number == number
    assert not list(tmp_path.glob(".*"))


@pytest.mark.requirement("CA-1", "OCSP-2")
def test_the_last_list_has_no_next_update_and_nothing_follows(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    lists = Lists(database, clock, tmp_path, shards=1, delta=True)
    (first, _), _ = lists.issue(2)
    at_work = lists.publisher()
    at_work.publish()
    withdraw(lists, first)
    with pytest.raises(Refused, match="authority-not-settled"):
        at_work.end(ISSUER)
    clock.advance(minutes=60 * 24 * 3)
    assert at_work.end(ISSUER) == [f"{ISSUER}-part-1.crl"]
    der = (tmp_path / f"{ISSUER}-part-1.crl").read_bytes()
    assert crl_facts(der)[2] == NEVER
    assert b"\x18\x0f99991231235959Z" in der
    assert "2.5.29.46" not in CrlReading.of(der).extensions
    assert not (tmp_path / f"{ISSUER}-part-1-delta.crl").exists()
    assert lint_crl(der, lists.key.facts, lists.key.public) == []
    assert crl_findings(der) == set()
    assert (
        "Next Update: Dec 31 23:59:59 9999 GMT"
        in run("openssl", "crl", "-inform", "DER", "-in", tmp_path / f"{ISSUER}-part-1.crl", "-noout", "-text").stdout
    )
    clock.advance(minutes=60 * 24)
    assert at_work.publish() == []
    with pytest.raises(Conflict, match="crl-ended"):
        at_work.end(ISSUER)
    assert (tmp_path / f"{ISSUER}-part-1.crl").read_bytes() == der


def test_more_parts_later_leave_older_certificates_on_theirs(
    database: Database, clock: SettableClock, tmp_path: Path
) -> None:
    lists = Lists(database, clock, tmp_path)
    ((before, der),) = lists.issue()
    lists.publisher().publish()
    more = Lists(database, clock, tmp_path, shards=2)
    ((after, after_der),) = more.issue()
    withdraw(more, before)
    withdraw(more, after)
    assert set(more.publisher().publish()) == {ISSUER, f"{ISSUER}-part-1", f"{ISSUER}-part-2"}
    assert point_of(der) == f"{more.urls.repository}/{ISSUER}.crl"
    with database.read() as session:
        parts = [session.get_one(Certificate, serial).shard for serial in (before, after)]
    assert parts == [0, int(after, 16) % 2 + 1]
    # What counts is what the certificate says, not what is set when its row is written.
    assert Lists(database, clock, tmp_path, shards=9).urls.named_shard(ISSUER, after_der) == parts[1]
    # The whole list has no distribution point, so it must know everything.
    assert CrlReading.of((tmp_path / f"{ISSUER}.crl").read_bytes()).count() == 2


@pytest.mark.requirement("OCSP-2")
def test_a_long_list_is_served_in_pieces_and_as_it_was_when_it_was_opened(
    artefacts: Path, database: Database, clock: SettableClock
) -> None:
    key = issuer("nonqualified")
    form = CrlForm(7, NOW, NOW + timedelta(days=1))
    rows = (entry(f"{1 << 100 | number:032x}", NOW, "superseded") for number in range(20_000))
    made = write_crl(key, form, rows, artefacts, "nonqualified.crl")
    made.rename(artefacts / "nonqualified.crl")
    with TestClient(repository_app(artefacts, clock)) as client:
        whole = client.get("/nonqualified.crl")
        head = client.head("/nonqualified.crl")
    assert whole.content == (artefacts / "nonqualified.crl").read_bytes()
    assert head.headers["content-length"] == str(len(whole.content))
    assert (head.content, head.headers["etag"]) == (b"", whole.headers["etag"])
    assert len(x509.load_der_x509_crl(whole.content)) == 20_000


def test_numbers_rise_also_where_the_database_was_lost(
    make_database: DatabaseFactory, clock: SettableClock, tmp_path: Path
) -> None:
    numbers = []
    for _ in range(2):
        lists = Lists(make_database(), clock, tmp_path)
        lists.publisher().publish()
        numbers.append(crl_facts((tmp_path / f"{ISSUER}.crl").read_bytes())[0])
    assert numbers[0] < numbers[1]


def test_the_settings_become_the_terms() -> None:
    read = load_settings(default_config())
    changed = read.model_copy(update={"crl": Crl(look_seconds=7, shards={"qualified": 3}, delta=True)})
    terms = CrlTerms.of(changed)
    assert (terms.look, terms.delta, terms.urls.shards) == (timedelta(seconds=7), True, {"qualified": 3})
    assert (
        terms.urls.crl("qualified", terms.urls.shard("qualified", 4)) == f"{read.urls.repository}/qualified-part-2.crl"
    )


MOMENTS = st.integers(0, 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(st.integers(1, 2**127), MOMENTS, st.sampled_from(sorted(REASONS)))
def test_the_fast_entry_is_the_entry(serial: int, moment: datetime, reason: str) -> None:
    whole = RevokedCertificate(serial, moment, reason).der()
    assert entry(f"{serial:032x}", moment, reason) == whole
    assert entry(f"{serial:032x}", f"{moment:%Y-%m-%d %H:%M:%S}.000000", reason) == whole


@pytest.fixture(scope="module")
def some_list() -> bytes:
    revoked = [RevokedCertificate(3 + number, NOW, "superseded") for number in range(4)]
    return make_crl(issuer(), number=7, now=NOW, validity=timedelta(days=1), revoked=revoked)


@settings(max_examples=300)
@given(data=st.data())
def test_a_spoiled_list_is_refused_by_name_or_reads_otherwise(some_list: bytes, data: st.DataObject) -> None:
    """Any one octet changed, or the end cut off: no other error, and never more entries than there is room for."""
    at_octet = data.draw(st.integers(0, len(some_list) - 1))
    if data.draw(st.booleans()):
        spoiled = some_list[:at_octet]
    else:
        spoiled = some_list[:at_octet] + bytes((data.draw(st.integers(0, 255)),)) + some_list[at_octet + 1 :]
    try:
        assert CrlReading.of(spoiled).count() <= 4
    except Invalid as error:
        assert error.code == "crl-malformed"


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_octets_are_refused_by_name(octets: bytes) -> None:
    with pytest.raises(Invalid, match="crl-malformed"):
        CrlReading.of(octets)
