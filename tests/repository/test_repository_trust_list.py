"""The trust list: what other people's programs make of it, and how it goes on."""

import asyncio
import re
import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateBuilder, Name
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.qualified.eutl_parse import trust_list_to_registry
from pyhanko.sign.validation.qualified.tsp import TSPTrustManager
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathBuildingError
from sqlalchemy import select
from starlette.testclient import TestClient
from typer.testing import CliRunner

from hsm.errors import TokenGone
from tests.ca.ca_kit import NOW, PERSON, SoftKey, authority, issuer, profiles
from tests.conftest import TokenFactory
from tests.repository.trust_kit import SCHEME, SIGNER_NAME, World, service, xmlsec_accepts
from tsp.audit.entries import Writer
from tsp.audit.tables import Entry
from tsp.ca.authority import IssuingKey
from tsp.ca.issuance import Issuance
from tsp.ca.names import ServiceName
from tsp.ca.plan import ISSUERS
from tsp.ca.store import CaStore, to_pem
from tsp.ca.tables import Certificate
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Unavailable
from tsp.core.randomness import SystemRandomness
from tsp.core.settings import Settings
from tsp.repository.commands import trust_list_commands
from tsp.repository.services import services
from tsp.repository.trust_publication import TrustListShelf, certified_signer
from tsp.repository.trustlist import TSL, Instance, TrustList, build, following, read
from tsp.repository.xades import sign_enveloped

#: TS 119 612, Annex C: what each element holds, in its order; ? may be missing, + may come several times.
SCHEMA = {
    "TrustServiceStatusList": "SchemeInformation TrustServiceProviderList Signature",
    "SchemeInformation": (
        "TSLVersionIdentifier TSLSequenceNumber TSLType SchemeOperatorName SchemeOperatorAddress SchemeName "
        "SchemeInformationURI StatusDeterminationApproach SchemeTypeCommunityRules SchemeTerritory PolicyOrLegalNotice "
        "HistoricalInformationPeriod ListIssueDateTime NextUpdate DistributionPoints"
    ),
    "TrustServiceProviderList": "TrustServiceProvider",
    "TrustServiceProvider": "TSPInformation TSPServices",
    "TSPInformation": "TSPName TSPTradeName TSPAddress TSPInformationURI",
    "TSPServices": "TSPService+",
    "TSPService": "ServiceInformation ServiceHistory?",
    "ServiceInformation": (
        "ServiceTypeIdentifier ServiceName ServiceDigitalIdentity ServiceStatus StatusStartingTime "
        "SchemeServiceDefinitionURI ServiceSupplyPoints TSPServiceDefinitionURI ServiceInformationExtensions?"
    ),
    "ServiceHistory": "ServiceHistoryInstance+",
    "ServiceHistoryInstance": (
        "ServiceTypeIdentifier ServiceName ServiceDigitalIdentity ServiceStatus StatusStartingTime "
        "ServiceInformationExtensions?"
    ),
    "PostalAddress": "StreetAddress Locality PostalCode CountryName",
    "DigitalId": "X509Certificate?X509SubjectName?X509SKI?",
}


@pytest.fixture
def world(tmp_path: Path, clock: SettableClock) -> World:
    return World(tmp_path / "trust-list", clock)


def published(world: World) -> bytes:
    world.publisher.publish()
    return world.shelf.octets()


def text(root: Any, path: str) -> list[str]:
    return [element.text for element in root.findall(path, {"t": TSL})]


# --- the signature ---------------------------------------------------------------------------------


@pytest.mark.requirement("TLS-1")
def test_xmlsec_verifies_the_signature(world: World, tmp_path: Path) -> None:
    assert xmlsec_accepts(published(world), world.certificate, tmp_path)


@pytest.mark.requirement("TLS-1")
@pytest.mark.parametrize(
    ("said", "changed"),
    [
        (b"Svcstatus/granted", b"Svcstatus/withdrawn"),
        (b"<TSLSequenceNumber>1<", b"<TSLSequenceNumber>2<"),
        (b"<xades:SigningTime>2026", b"<xades:SigningTime>2027"),
        (b"<xades:MimeType>application/vnd", b"<xades:MimeType>text/vnd"),
        (b"Ljubljana", b"Maribor"),
    ],
)
def test_no_part_of_the_list_can_be_changed(world: World, tmp_path: Path, said: bytes, changed: bytes) -> None:
    data = published(world)
    assert said in data
    spoilt = data.replace(said, changed, 1)
    assert not xmlsec_accepts(spoilt, world.certificate, tmp_path)
    with pytest.raises(SignatureValidationError):
        trust_list_to_registry(spoilt.decode(), [x509.Certificate.load(world.certificate)])


@pytest.mark.requirement("TLS-1")
def test_another_signer_is_not_believed(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other", world.clock)
    assert not xmlsec_accepts(published(world), other.certificate, tmp_path)
    with pytest.raises(SignatureValidationError):
        trust_list_to_registry(published(world).decode(), [x509.Certificate.load(other.certificate)])


def test_signature_has_the_form_of_the_standard(world: World) -> None:
    """XAdES B-B as TS 119 612, 5.7 asks: two references, exclusive canonicalisation, the signer alone in KeyInfo."""
    root = etree.fromstring(published(world))
    spaces = {"ds": "http://www.w3.org/2000/09/xmldsig#", "xades": "http://uri.etsi.org/01903/v1.3.2#"}
    references = root.findall(".//ds:SignedInfo/ds:Reference", spaces)
    assert [reference.get("URI") for reference in references] == ["", "#signed-properties"]
    assert references[1].get("Type") == "http://uri.etsi.org/01903#SignedProperties"
    assert len(root.findall(".//ds:KeyInfo//ds:X509Certificate", spaces)) == 1
    order = [etree.QName(part).localname for part in root.find(".//xades:SignedSignatureProperties", spaces)]
    assert order == ["SigningTime", "SigningCertificateV2"]
    certificate = x509.Certificate.load(world.certificate)
    assert certificate.extended_key_usage_value.native == ["0.4.0.2231.3.0"]
    assert certificate.subject.native["country_name"] == text(root, ".//t:SchemeTerritory")[0]
    assert certificate.subject.native["organization_name"] in text(root, ".//t:SchemeOperatorName/t:Name")


def test_keys_that_no_method_is_known_for_are_refused(clock: SettableClock, world: World) -> None:
    key = rsa.generate_private_key(65537, 2048)
    made = CertificateBuilder(Name([]), Name([]), key.public_key(), 1, clock.now(), clock.now())
    der = made.sign(key, SHA256()).public_bytes(Encoding.DER)
    root = build(SCHEME, TrustList(1, NOW, NOW + timedelta(days=1), following(None, world.services, NOW)))
    with pytest.raises(ValueError, match="P-256"):
        sign_enveloped(root, der, lambda digest: digest, signing_time=NOW, media_type="x")


# --- the contents ----------------------------------------------------------------------------------


@pytest.mark.requirement("TLS-1")
def test_elements_stand_in_the_order_of_the_schema(world: World, clock: SettableClock) -> None:
    published(world)
    clock.advance(days=1)
    world.services.pop()
    root = etree.fromstring(published(world))
    seen = set()
    for element in root.iter(f"{{{TSL}}}*"):
        name = etree.QName(element).localname
        if name in SCHEMA:
            seen.add(name)
            children = " ".join(etree.QName(child).localname for child in element)
            pattern = "".join(
                f"({part.rstrip('?+')} ?){part[len(part.rstrip('?+')) :] or ''}"
                for part in SCHEMA[name].replace("?X", "? X").split()
            )
            assert re.fullmatch(pattern, children), f"{name}: {children}"
    assert seen == set(SCHEMA)


@pytest.mark.requirement("TLS-1")
def test_list_never_poses_as_one_of_the_union(world: World) -> None:
    root = etree.fromstring(published(world))
    own = f"{SCHEME.repository}/trust-list"
    for path in ("t:TSLType", "t:StatusDeterminationApproach", "t:SchemeTypeCommunityRules/t:URI"):
        assert all(uri.startswith(own) for uri in text(root, f"t:SchemeInformation/{path}"))
    assert b"EUgeneric" not in etree.tostring(root)
    assert text(root, ".//t:TSLLegalNotice") == ["Not an EU list.", "To ni seznam EU."]
    assert text(root, ".//t:TSLVersionIdentifier") == ["6"]


@pytest.mark.requirement("TLS-1")
def test_services_of_an_installation_and_what_they_are(
    artefacts: Path, settings: Settings, clock: SettableClock
) -> None:
    store = CaStore(artefacts)
    found = services(store, profiles(), settings.urls, lambda _: None, clock.now())
    kinds = [one.type for one in found]
    assert kinds.count("CA/QC") == kinds.count("Certstatus/OCSP/QC") >= 1
    assert kinds.count("CA/PKC") == kinds.count("Certstatus/OCSP") >= 1
    assert kinds.count("TSA/QTST") == kinds.count("TSA") == 1
    assert store.root not in [one.certificate for one in found]
    assert all(one.status == "granted" for one in found)
    qualified = next(one for one in found if one.type == "CA/QC")
    assert qualified.purposes
    assert next(one for one in found if one.type == "TSA/QTST").certificate == store.qtsu
    late = services(store, profiles(), settings.urls, lambda _: None, clock.now() + timedelta(days=36500))
    assert {one.status for one in late} == {"withdrawn"}
    assert len(found) == 2 * len(ISSUERS) + 2


@pytest.mark.requirement("TLS-1")
def test_earlier_generations_stay_on_the_list(artefacts: Path, settings: Settings, clock: SettableClock) -> None:
    key = SoftKey(ec.SECP384R1())
    (artefacts / "qualified-2.pem").write_bytes(to_pem(_certified(issuer("qualified", key))))
    found = services(CaStore(artefacts), profiles(), settings.urls, lambda _: None, clock.now())
    qualified = [one for one in found if one.type == "CA/QC"]
    assert [one.status for one in qualified] == ["granted", "granted"]
    assert [one.supply_points for one in qualified] == [
        (f"{settings.urls.repository}/qualified-2.cer",),
        (f"{settings.urls.repository}/qualified.cer",),
    ]


# --- a validator that trusts it --------------------------------------------------------------------


async def _validate(der: bytes, manager: TSPTrustManager) -> None:
    context = ValidationContext(trust_manager=manager, moment=NOW, allow_fetching=False, revocation_mode="soft-fail")
    await CertificateValidator(x509.Certificate.load(der), validation_context=context).async_validate_usage(set())


@pytest.mark.requirement("TLS-1")
def test_pyhanko_takes_the_list_as_its_trust_source(world: World) -> None:
    issuers = {role: issuer(role, SoftKey(ec.SECP384R1())) for role in ("qualified", "infrastructure")}
    made = authority(issuers)
    qualified, other = (_certified(issuers[role]) for role in ("qualified", "infrastructure"))
    world.services += [service("CA/QC", qualified, NOW), service("CA/PKC", other, NOW)]
    registry, errors = trust_list_to_registry(published(world).decode(), [x509.Certificate.load(world.certificate)])
    assert errors == []
    known = list(registry.known_certificate_authorities)
    assert [one.name.dump() for one in known] == [issuers["qualified"].facts.name]
    manager = TSPTrustManager(registry)
    person = made.issue(made.prepare("qualified", PERSON, SoftKey().public_spki, now=NOW)).der
    asyncio.run(_validate(person, manager))
    with pytest.raises(PathBuildingError):
        asyncio.run(_validate(world.services[1].certificate, manager))


def _certified(key: IssuingKey) -> bytes:
    """A certificate of an authority over its own key, for who looks at name and key alone."""
    common = str(x509.Name.load(key.facts.name).native["common_name"])
    subject = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", common)
    made = authority({"root": IssuingKey(replace(key.facts, role="root"), key.key)})
    return made.issue(made.prepare("root-ca", subject, key.facts.spki, now=NOW, issuer="root")).der


# --- issues ----------------------------------------------------------------------------------------


@pytest.mark.requirement("TLS-1")
def test_a_new_issue_only_where_something_changed_or_half_of_its_time_is_over(
    world: World, clock: SettableClock
) -> None:
    first = world.publisher.publish()
    assert first is not None
    assert (first.sequence, first.next_update - first.issued) == (1, timedelta(days=90))
    assert world.publisher.publish() is None
    clock.advance(days=44)
    assert world.publisher.publish() is None
    clock.advance(days=2)
    second = world.publisher.publish()
    assert second is not None and second.sequence == 2
    assert second.entries == first.entries
    forced = world.publisher.publish(force=True)
    assert forced is not None and forced.sequence == 3
    assert world.shelf.numbers() == [3, 2, 1]


@pytest.mark.requirement("TLS-1")
def test_next_update_is_never_more_than_six_months_ahead(settings: Settings) -> None:
    limits = type(settings.practice).model_fields["trust_list_days"].metadata
    assert any(getattr(limit, "le", 999) <= 180 for limit in limits)


@pytest.mark.requirement("TLS-1")
def test_a_revoked_service_is_withdrawn_and_its_past_is_kept(world: World, clock: SettableClock) -> None:
    published(world)
    began = clock.now()
    clock.advance(days=10)
    qualified = world.services[0]
    world.services[0] = service("TSA/QTST", qualified.certificate, began, withdrawn=clock.now())
    issue = world.publisher.publish()
    assert issue is not None and issue.sequence == 2
    entry = issue.entries[0]
    assert entry.now == Instance("withdrawn", clock.now())
    assert entry.history == (Instance("granted", began),)
    assert issue.entries[1].history == ()
    # It stays so when it is not even there any more.
    clock.advance(days=1)
    world.services.pop(0)
    assert world.publisher.publish(force=True) is not None
    again = world.shelf.newest()
    assert again is not None
    assert (entry.now, entry.history) in [(one.now, one.history) for one in again.entries]


@pytest.mark.requirement("TLS-1")
def test_a_service_that_is_gone_is_withdrawn(world: World, clock: SettableClock) -> None:
    published(world)
    clock.advance(days=5)
    gone = world.services.pop()
    issue = world.publisher.publish()
    assert issue is not None
    assert [entry.now.status for entry in issue.entries] == ["granted", "withdrawn"]
    assert issue.entries[1].service.certificate == gone.certificate
    assert issue.entries[1].now.since == clock.now()
    assert world.publisher.publish() is None


def test_what_cannot_be_signed_or_read_leaves_the_standing_issue(world: World, clock: SettableClock) -> None:
    data = published(world)
    clock.advance(days=60)
    (world.shelf.directory / "2.xml").write_bytes(b"<half")
    with pytest.raises(Unavailable, match="trust-list-damaged"):
        world.publisher.publish()
    assert world.shelf.octets(1) == data
    assert world.shelf.numbers() == [2, 1]


def test_a_failure_is_told_and_the_next_look_goes_on(
    world: World, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(digest: bytes) -> bytes:
        raise TokenGone("the token is gone")

    good, world.key.sign_digest = world.key.sign_digest, gone  # type: ignore[method-assign]  # a token that is away
    world.publisher.look()
    assert world.shelf.numbers() == []
    assert "token-unavailable" in caplog.text
    world.key.sign_digest = good  # type: ignore[method-assign]  # and back

    class Once(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == 600
            self.set()
            return True

    world.publisher.run(Once())
    assert world.shelf.numbers() == [1]
    del clock


@given(at=st.integers(0, 6000), with_=st.binary(max_size=4))
def test_any_damage_is_read_or_refused_by_name(at: int, with_: bytes) -> None:
    data = etree.tostring(build(SCHEME, TrustList(1, NOW, NOW + timedelta(days=1), ())))
    try:
        found = read(data[:at] + with_ + data[at + len(with_) :])
    except ValueError:
        return
    assert found.entries == ()


@given(data=st.binary(max_size=200))
def test_anything_else_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (no words are promised)
        read(data)


# --- key and certificate ---------------------------------------------------------------------------


@pytest.mark.requirement("TLS-1")
def test_signer_is_made_once_in_the_token_and_renewed_in_time(
    database: Database, token_factory: TokenFactory, clock: SettableClock, tmp_path: Path
) -> None:
    token, shelf = token_factory("ca"), TrustListShelf(tmp_path / "list")
    randomness = SystemRandomness()
    told = Writer("certification", randomness, clock)
    made = Issuance(authority(clock=clock), database, clock, randomness, told)
    first = certified_signer(shelf, token, made, SIGNER_NAME, clock)
    assert first.certificate == shelf.signer()
    assert certified_signer(shelf, token, made, SIGNER_NAME, clock).certificate == first.certificate
    clock.advance(days=700)
    renewed = certified_signer(shelf, token, made, SIGNER_NAME, clock)
    parsed = [x509.Certificate.load(one.certificate) for one in (first, renewed)]
    assert parsed[0].serial_number != parsed[1].serial_number
    assert parsed[0].public_key.dump() == parsed[1].public_key.dump()
    with database.read() as session:
        for one in parsed:
            row = session.get(Certificate, f"{one.serial_number:032x}")
            assert row is not None and row.profile == "trust-list"
        entries = session.scalars(select(Entry.content).where(Entry.kind == "certificate-issued")).all()
        assert [f"{one.serial_number:032x}" in str(entry) for one, entry in zip(parsed, entries, strict=True)] == [
            True
        ] * 2
    root = build(SCHEME, TrustList(1, clock.now(), clock.now(), ()))
    signed = sign_enveloped(root, renewed.certificate, renewed.sign_digest, signing_time=clock.now(), media_type="x")
    assert xmlsec_accepts(signed, renewed.certificate, tmp_path)


def test_commands_publish_and_show(world: World) -> None:
    commands = trust_list_commands(lambda: nullcontext(world.publisher), lambda: world.shelf)
    run = CliRunner().invoke
    assert run(commands, ["show"]).exit_code == 1
    assert "issue 1, next update at the latest 2027-02-21" in run(commands, ["publish"]).output
    assert "Nothing changed" in run(commands, ["publish"]).output
    assert "issue 2" in run(commands, ["publish", "--force"]).output
    shown = run(commands, ["show"])
    assert "TSA/QTST             granted    since 2026-11-23" in shown.output


# --- over HTTP -------------------------------------------------------------------------------------


@pytest.mark.requirement("TLS-1", "OCSP-2")
def test_repository_serves_the_list_its_issues_and_its_signer(
    client: TestClient, trust_world: World, tmp_path: Path
) -> None:
    answer = client.get("/trust-list.xml")
    assert answer.headers["content-type"] == "application/vnd.etsi.tsl+xml"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    certificate = client.get("/trust-list/signer.cer")
    assert certificate.headers["content-type"] == "application/pkix-cert"
    assert xmlsec_accepts(answer.content, certificate.content, tmp_path)
    for headers in (
        {"if-none-match": answer.headers["etag"]},
        {"if-modified-since": answer.headers["last-modified"]},
    ):
        assert client.get("/trust-list.xml", headers=headers).status_code == 304
    trust_world.publisher.publish(force=True)
    assert client.get("/trust-list.xml").content != answer.content
    assert client.get("/trust-list/1.xml").content == answer.content
    assert client.get("/trust-list/1.xml").headers["cache-control"].endswith("immutable")
    for path in ("/trust-list/3.xml", "/trust-list/0.xml", "/trust-list/x.xml", "/trust-list/signer.pem"):
        assert client.get(path).status_code == 404, path


@pytest.mark.requirement("TLS-1")
@pytest.mark.parametrize(("language", "words"), [("sl", "Ni zanesljivi seznam"), ("en", "not the trusted list")])
def test_addresses_in_the_list_lead_to_the_page_of_its_rules(client: TestClient, language: str, words: str) -> None:
    root = etree.fromstring(client.get("/trust-list.xml").content)
    page = client.get("/trust-list", headers={"accept-language": language})
    assert page.status_code == 200
    assert words in page.text
    places = {uri for uri in root.itertext() if uri.startswith(f"{SCHEME.repository}/trust-list#")}
    assert len(places) == 4
    for place in places:
        assert f'id="{place.rpartition("#")[2]}"' in page.text


def test_without_a_list_the_pages_say_so(client: TestClient, trust_world: World) -> None:
    for file in trust_world.shelf.directory.iterdir():
        file.unlink()
    for path in ("/trust-list", "/trust-list.xml", "/trust-list/signer.cer"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "No trust list is published here." in answer.text
    assert "/trust-list" not in client.get("/").text
