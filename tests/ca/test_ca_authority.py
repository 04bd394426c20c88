"""The authority: what it prepares, that it issues once, and what it refuses."""

import hashlib
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import pem, x509
from cryptography.hazmat.primitives.asymmetric import ec

from hsm import KeySpec
from hsm.errors import TokenGone
from tests.ca.ca_kit import (
    CREATOR,
    DEFAULT_ARC,
    EMPLOYEE,
    HIDDEN_EMPLOYEE,
    NOW,
    PERSON,
    PSEUDONYM,
    SERVICE,
    URLS,
    SoftKey,
    authority,
    etsi_findings,
    issuer,
    pkix_findings,
    profiles,
    rsa_spki,
)
from tests.conftest import TokenFactory
from tests.false_findings import FALSE_FINDINGS, explaining, unexplained
from tsp.ca.authority import IssuedCertificate, IssuingKey
from tsp.ca.certificate import assemble, build_tbs
from tsp.ca.names import PersonName, ServiceName, SubjectName
from tsp.ca.store import to_pem
from tsp.ca.tables import status
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Invalid, Refused, TspError, Unavailable

SPKI = SoftKey().public_spki
SERVER = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "sign.example.si")
FORMS = (PERSON, PSEUDONYM, EMPLOYEE, HIDDEN_EMPLOYEE)
KINDS: list[tuple[str, SubjectName, str, tuple[str, ...]]] = [
    *(("advanced", form, "nonqualified", ()) for form in FORMS),
    *((kind, form, "qualified", ()) for kind in ("advanced-qualified", "qualified") for form in FORMS),
    *(("authentication", form, "nonqualified", ()) for form in FORMS),
    ("advanced-seal", CREATOR, "nonqualified", ()),
    *((kind, CREATOR, "qualified", ()) for kind in ("advanced-qualified-seal", "qualified-seal")),
    ("operator", EMPLOYEE, "infrastructure", ()),
    ("advanced", PersonName("Ana", "Novak", "SI", "17"), "nonqualified", ()),
    ("qualified", PersonName(None, "Novak", "SI", "17"), "qualified", ()),
    ("tsu", SERVICE, "infrastructure", ()),
    ("qtsu", SERVICE, "infrastructure", ()),
    ("ocsp-responder", SERVICE, "qualified", ()),
    ("ocsp-responder", SERVICE, "infrastructure", ()),
    ("trust-list", SERVICE, "infrastructure", ()),
    ("tls-server", SERVER, "infrastructure", ("sign.example.si", "www.example.si")),
]


@pytest.mark.requirement("CA-1", "CA-2", "CA-3", "CA-4")
@pytest.mark.parametrize(("profile", "subject", "role", "hosts"), KINDS)
def test_outside_linter_finds_nothing_in_any_kind(
    profile: str, subject: SubjectName, role: str, hosts: tuple[str, ...]
) -> None:
    whole = authority()
    prepared = whole.prepare(profile, subject, SPKI, now=NOW, issuer=role, host_names=hosts)
    issued = whole.issue(prepared)
    assert unexplained(etsi_findings(issued.der), issued.der) == set()
    assert unexplained(pkix_findings(issued.der), issued.der) == set()


KEYS = {
    "P256": lambda: SPKI,
    "P384": lambda: SoftKey(ec.SECP384R1()).public_spki,
    "RSA3072": rsa_spki,
    "RSA3072-PSS": lambda: rsa_spki(pss="sha256"),
    "RSA4096": lambda: rsa_spki(4096),
    "RSA4096-PSS": lambda: rsa_spki(4096, pss="sha512"),
}


@pytest.mark.requirement("CA-1", "CA-4")
@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_key_that_a_profile_takes_is_certified_as_it_came(name: str, tmp_path: Path) -> None:
    spki = KEYS[name]()
    whole = authority({"nonqualified": issuer("nonqualified", SoftKey(ec.SECP384R1()))})
    assert name in profiles()["authentication"].keys
    issued = whole.issue(whole.prepare("authentication", PERSON, spki, now=NOW))
    assert unexplained(etsi_findings(issued.der), issued.der) == set()
    (tmp_path / "ee.der").write_bytes(issued.der)
    arguments = ["openssl", "x509", "-inform", "DER", "-in", tmp_path / "ee.der", "-noout", "-pubkey"]
    shown = subprocess.run(arguments, capture_output=True, check=True).stdout
    assert pem.unarmor(shown)[2] == spki
    text = subprocess.run([*arguments[:-1], "-text"], capture_output=True, check=True).stdout
    assert (b"rsassaPss" in text) == name.endswith("PSS")


def test_every_false_finding_of_the_list_is_still_found() -> None:
    host = "a.certificate.test"
    server = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", host)
    bound = KEYS["RSA3072-PSS"]()
    made: list[tuple[str, SubjectName, bytes, tuple[str, ...]]] = [
        ("tsu", SERVICE, SPKI, ()),
        ("ocsp-responder", SERVICE, SPKI, ()),
        ("advanced-seal", CREATOR, bound, ()),
        ("tls-server", server, SPKI, (host,)),
    ]
    whole, seen = authority(), set()
    for profile, subject, spki, hosts in made:
        role = profiles()[profile].issuers[0]
        der = whole.issue(whole.prepare(profile, subject, spki, now=NOW, issuer=role, host_names=hosts)).der
        seen |= explaining(etsi_findings(der), der)
    long = authority(known=profiles(DEFAULT_ARC))
    der = long.issue(long.prepare("advanced", PERSON, SPKI, now=NOW)).der
    seen |= explaining(etsi_findings(der), der)
    demo = authority(urls=RepositoryUrls("http://localhost:8405", "http://localhost:8404", URLS.pds))
    der = demo.issue(demo.prepare("advanced", PERSON, SPKI, now=NOW)).der
    seen |= explaining(etsi_findings(der), der)
    bare = profiles()["advanced"]
    status = bare.status.model_copy(update={"no_rev_avail": True, "ocsp": False, "crl": False})
    whole = authority(known={"advanced": bare.model_copy(update={"status": status})})
    der = whole.issue(whole.prepare("advanced", PERSON, SPKI, now=NOW)).der
    seen |= explaining(etsi_findings(der), der)
    assert seen == set(FALSE_FINDINGS)


@pytest.mark.requirement("CA-2", "CA-4")
def test_qcp_n_lacks_only_the_device_for_the_strictest_reading() -> None:
    # The linter has no type for QCP-n without a QSCD: held against QCP-n-qscd, nothing but the device is missing.
    from pkilint.etsi.etsi_constants import CertificateType

    whole = authority()
    issued = whole.issue(whole.prepare("advanced-qualified", PERSON, SPKI, now=NOW))
    assert etsi_findings(issued.der, CertificateType.QCP_N_QSCD_EIDAS_FINAL_CERTIFICATE) == {
        "etsi.en_319_412_5.qcs-5.01.qc_sscd_qualified_statement_absent",
        "etsi.en_319_412_2.qcs-5.2-2.mismatched_policy_identifier_for_certificate_type",
    }


@pytest.mark.requirement("SIG-1", "CA-4")
def test_one_time_key_is_certified_in_tokens(token_factory: TokenFactory, tmp_path: Path) -> None:
    """The whole cycle with a real token, and openssl as the judge of certificate and signature."""
    token = token_factory("ca")
    signer = issuer(
        "qualified", token.generate_signing_key("qualified-ca", KeySpec.P256), since=NOW - timedelta(days=1)
    )
    root = issuer("root", SoftKey(ec.SECP384R1()))
    above = _ca_certificate(root, signer)
    signer = IssuingKey.of("qualified", above, signer.key)
    whole = authority({"qualified": signer})
    with token.one_time_key() as key:
        issued = whole.issue(whole.prepare("advanced-qualified", PERSON, key.public_spki, now=NOW))
        signature = key.sign_digest(hashlib.sha256(b"document").digest())
    (tmp_path / "ca.pem").write_bytes(to_pem(above))
    (tmp_path / "ee.pem").write_bytes(to_pem(issued.der))
    (tmp_path / "sig").write_bytes(signature)
    (tmp_path / "doc").write_bytes(b"document")
    # OpenSSL takes the last second for expired already; RFC 5280, 4.1.2.5 includes it.
    moment = str(int(NOW.timestamp()) + 3598)
    verify = ["openssl", "verify", "-partial_chain", "-x509_strict", "-attime", moment, "-CAfile", tmp_path / "ca.pem"]
    assert subprocess.run([*verify, tmp_path / "ee.pem"], capture_output=True, check=True).stdout.endswith(b"OK\n")
    verify[verify.index(moment)] = str(int(moment) + 2)
    over = subprocess.run([*verify, tmp_path / "ee.pem"], capture_output=True, check=False)
    assert b"certificate has expired" in over.stderr
    public = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "ee.pem", "-noout", "-pubkey"], capture_output=True, check=True
    ).stdout
    (tmp_path / "pub.pem").write_bytes(public)
    digest = ["openssl", "dgst", "-sha256", "-verify", tmp_path / "pub.pem", "-signature", tmp_path / "sig"]
    assert subprocess.run([*digest, tmp_path / "doc"], capture_output=True, check=True).stdout == b"Verified OK\n"


def _ca_certificate(root: IssuingKey, below: IssuingKey) -> bytes:
    """The certificate of an authority below a soft root."""
    name = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "Enkrat TEST issuing CA")
    tbs = build_tbs(profiles()["subordinate-ca"], root.facts, name, below.facts.spki, 2**100, NOW, URLS)
    return assemble(tbs, root.sign(tbs), root.algorithm)


@pytest.mark.requirement("CA-4", "CA-5")
def test_certificate_says_what_was_asked() -> None:
    whole = authority()
    issued = whole.issue(whole.prepare("qualified", PERSON, SPKI, now=NOW + timedelta(milliseconds=900)))
    read = x509.Certificate.load(issued.der)
    assert read.subject.native == {
        "country_name": "SI",
        "serial_number": "TINSI-12345678",
        "surname": "Žnidaršič",
        "given_name": "Ančka",
        "common_name": "Ančka Žnidaršič",
    }
    assert read.public_key.dump() == SPKI
    assert (read.not_valid_before, read.not_valid_after) == (NOW, NOW + timedelta(seconds=3599))
    assert (issued.not_before, issued.not_after) == (NOW, NOW + timedelta(seconds=3599))
    assert f"{read.serial_number:032x}" == issued.serial
    assert read.key_usage_value.native == {"non_repudiation"}
    assert read.ocsp_urls == [URLS.ocsp]
    assert (issued.issuer, issued.profile) == ("qualified", "qualified")


def test_serial_numbers_are_random_positive_and_at_most_sixteen_octets() -> None:
    whole = authority()
    serials = {int(whole.prepare("advanced", PERSON, SPKI, now=NOW).serial, 16) for _ in range(200)}
    assert len(serials) == 200
    assert all(0 < serial < 2**127 for serial in serials)
    assert max(serials) > 2**125


def test_hardly_random_serial_numbers_are_drawn_again() -> None:
    class Zeros:
        def __init__(self) -> None:
            self.draws = [b"\xff" * 16, b"\x80" + bytes(15), bytes(16), bytes(8) + b"\xff" * 8]

        def bytes(self, length: int) -> bytes:
            return self.draws.pop()

    zeros = Zeros()
    assert int(authority(randomness=zeros).prepare("advanced", PERSON, SPKI, now=NOW).serial, 16) == 2**127 - 1
    assert zeros.draws == []


@pytest.mark.requirement("SIG-1")
def test_prepared_is_redeemed_once_by_five_at_a_time() -> None:
    key = SoftKey()
    whole = authority({"nonqualified": issuer("nonqualified", key)})
    prepared = whole.prepare("advanced", PERSON, SPKI, now=NOW)
    start = threading.Barrier(5)

    def redeem() -> IssuedCertificate | TspError:
        start.wait()
        try:
            return whole.issue(prepared)
        except Conflict as error:
            return error

    with ThreadPoolExecutor(5) as pool:
        outcomes = [future.result() for future in [pool.submit(redeem) for _ in range(5)]]
    assert sum(isinstance(outcome, IssuedCertificate) for outcome in outcomes) == 1
    assert {o.code for o in outcomes if isinstance(o, TspError)} == {"certificate-issued-already"}
    assert key.signed == 1


def test_prepared_elsewhere_is_refused_and_spent() -> None:
    prepared = authority().prepare("advanced", PERSON, SPKI, now=NOW)
    with pytest.raises(Refused, match="prepared-elsewhere"):
        authority().issue(prepared)


@pytest.mark.parametrize(("seconds", "fine"), [(60, True), (61, False)])
def test_prepared_ages(clock: SettableClock, seconds: int, fine: bool) -> None:
    whole = authority(clock=clock)
    prepared = whole.prepare("advanced", PERSON, SPKI, now=clock.now())
    clock.advance(seconds=seconds)
    if fine:
        assert whole.issue(prepared).serial == prepared.serial
    else:
        with pytest.raises(Refused, match="prepared-too-old"):
            whole.issue(prepared)


@pytest.mark.requirement("SIG-3")
def test_qualified_needs_a_qscd() -> None:
    whole = authority(qscd=False)
    assert not whole.offers("qualified")
    assert whole.offers("advanced-qualified")
    with pytest.raises(Refused) as caught:
        whole.prepare("qualified", PERSON, SPKI, now=NOW)
    assert caught.value.code == "kind-not-available"
    assert authority(qscd=True).offers("qualified")
    assert not authority({"infrastructure": issuer("infrastructure")}).offers("qualified")
    assert not whole.offers("unknown")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"profile": "unknown"}, "profile-unknown"),
        ({"subject": SERVICE}, "subject-unfit"),
        ({"profile": "tsu"}, "subject-unfit"),
        ({"spki": SoftKey(ec.SECP384R1()).public_spki}, "key-unfit"),
        ({"spki": b"\x30\x00"}, "key-unfit"),
        ({"issuer": "infrastructure"}, "issuer-unknown"),
        ({"issuer": "root"}, "issuer-unknown"),
        ({"profile": "ocsp-responder", "subject": SERVICE}, "issuer-unknown"),
        ({"host_names": ("a.si",)}, "host-name-unfit"),
        ({"profile": "tls-server", "subject": SERVER}, "host-name-unfit"),
        ({"profile": "tls-server", "subject": SERVER, "host_names": ("sign.example.si", "B.si")}, "host-name-unfit"),
        ({"profile": "tls-server", "subject": SERVER, "host_names": ("other.example.si",)}, "host-name-unfit"),
    ],
)
def test_what_does_not_fit_is_invalid(changes: dict[str, object], code: str) -> None:
    arguments = {"profile": "advanced", "subject": PERSON, "spki": SPKI, "now": NOW} | changes
    with pytest.raises(Invalid) as caught:
        authority().prepare(**arguments)
    assert caught.value.code == code


@pytest.mark.parametrize("now", [NOW - timedelta(seconds=1), datetime(2055, 12, 31, 23, 0, 2, tzinfo=UTC)])
def test_certificate_lives_within_its_issuer(now: datetime) -> None:
    with pytest.raises(Unavailable, match="authority-expiring"):
        authority().prepare("advanced", PERSON, SPKI, now=now)


def test_last_possible_second_is_fine() -> None:
    last = datetime(2055, 12, 31, 23, 0, 1, tzinfo=UTC)
    assert authority().prepare("advanced", PERSON, SPKI, now=last).not_after == last + timedelta(seconds=3599)


def test_token_that_does_not_answer_is_unavailable() -> None:
    class Gone(SoftKey):
        def sign_digest(self, digest: bytes) -> bytes:
            raise TokenGone("Plug the token in again.")

    whole = authority({"nonqualified": issuer("nonqualified", Gone())})
    prepared = whole.prepare("advanced", PERSON, SPKI, now=NOW)
    with pytest.raises(Unavailable) as caught:
        whole.issue(prepared)
    assert (caught.value.code, caught.value.facts) == ("authority-unavailable", {"cause": "token-gone"})
    with pytest.raises(Conflict):
        whole.issue(prepared)


def test_certificate_with_a_wrong_signature_does_not_leave() -> None:
    class Wrong(SoftKey):
        def sign_digest(self, digest: bytes) -> bytes:
            return super().sign_digest(hashlib.sha256(digest).digest())

    whole = authority({"nonqualified": issuer("nonqualified", Wrong())})
    with pytest.raises(Unavailable) as caught:
        whole.issue(whole.prepare("advanced", PERSON, SPKI, now=NOW))
    assert (caught.value.code, caught.value.facts["rule"]) == ("certificate-unsound", "signature")


def test_shape_that_breaks_a_rule_is_never_signed() -> None:
    key = SoftKey()
    profile = profiles()["advanced"]
    # A profile that was not checked when it was read: the twin shows what the builder makes of it.
    wrong = profile.model_copy(update={"policies": ()})
    whole = authority({"nonqualified": issuer("nonqualified", key)}, known={"advanced": wrong})
    with pytest.raises(Unavailable) as caught:
        whole.prepare("advanced", PERSON, SPKI, now=NOW)
    assert (caught.value.code, caught.value.facts["rule"]) == ("certificate-unsound", "policies")
    assert key.signed == 0


def test_issuer_with_a_weaker_key_is_found_before_it_signs() -> None:
    whole = authority({"root": issuer("root", SoftKey())})
    with pytest.raises(Invalid) as caught:
        whole.prepare("subordinate-ca", SERVICE, SoftKey(ec.SECP384R1()).public_spki, now=NOW)
    assert (caught.value.code, "stronger" in caught.value.sentence) == ("key-unfit", True)


@pytest.mark.requirement("CA-5")
def test_row_is_what_was_issued(database: Database, clock: SettableClock) -> None:
    whole = authority(clock=clock)
    issued = whole.issue(whole.prepare("advanced", PERSON, SPKI, now=clock.now()))
    with database.write() as session:
        session.add(whole.row(issued, "account-1"))
    with database.read() as session:
        known = status(session, "nonqualified", issued.serial)
        assert known is not None
        assert status(session, "infrastructure", issued.serial) is None
        assert status(session, "nonqualified", "00" * 16) is None
    assert (known.profile, known.not_before, known.not_after) == ("advanced", issued.not_before, issued.not_after)
    assert (known.issued_at, known.revoked) == (clock.now(), False)


def test_prepared_tells_nothing_of_the_person_when_printed() -> None:
    prepared = authority().prepare("advanced", PERSON, SPKI, now=NOW)
    for printed in (repr(prepared), repr(PERSON), str(PERSON)):
        assert not [trace for trace in ("Ančka", "12345678", r"An\xc4\x8dka") if trace in printed]
