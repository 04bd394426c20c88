"""The builder against asn1crypto: the same values, encoded by another encoder, give the same octets."""

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import algos, core, keys, x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ca.ca_kit import (
    ARC,
    CREATOR,
    EMPLOYEE,
    HIDDEN_EMPLOYEE,
    NOW,
    PERSON,
    PSEUDONYM,
    SERVICE,
    URLS,
    SoftKey,
    issuer,
    profiles,
    rsa_spki,
)
from tsp.ca.certificate import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    IssuerFacts,
    Template,
    algorithm_of,
    assemble,
    build_tbs,
    key_identifier,
    key_name,
    validity,
)
from tsp.ca.names import PersonName, SubjectName
from tsp.ca.rsa_keys import weakness
from tsp.ca.urls import RepositoryUrls
from tsp.core.errors import Invalid

PROFILES = profiles()
ISSUERS = {
    "P256": issuer("qualified", SoftKey()).facts,
    "P384": issuer("qualified", SoftKey(ec.SECP384R1())).facts,
}
KEYS = [SoftKey().public_spki for _ in range(3)]
RSA_KEYS = [rsa_spki(), rsa_spki(pss="sha256"), rsa_spki(pss="sha384"), rsa_spki(pss="sha512")]
NULL = core.Null().dump()
#: Times before and after the change from UTCTime to GeneralizedTime.
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=29 * 365)).map(datetime(2026, 1, 1, tzinfo=UTC).__add__)
SERIALS = st.integers(1, 2**127 - 1)


class Statement(core.Sequence):
    _fields = [("id", core.ObjectIdentifier), ("info", core.Any, {"optional": True})]  # noqa: RUF012


class Statements(core.SequenceOf):
    _child_spec = Statement


class Place(core.Sequence):
    _fields = [("url", core.IA5String), ("language", core.PrintableString)]  # noqa: RUF012


class Places(core.SequenceOf):
    _child_spec = Place


class Oids(core.SequenceOf):
    _child_spec = core.ObjectIdentifier


class Period(core.Sequence):
    _fields = [  # noqa: RUF012
        ("not_before", core.GeneralizedTime, {"implicit": 0}),
        ("not_after", core.GeneralizedTime, {"implicit": 1}),
    ]


def time(moment: datetime) -> x509.Time:
    kind = core.UTCTime if moment.year < 2050 else core.GeneralizedTime
    return x509.Time(kind.__name__.replace("UTCTime", "utc_time").replace("GeneralizedTime", "general_time"), moment)


def extension(dotted: str, value: bytes, *, critical: bool = False) -> dict[str, Any]:
    return {"extn_id": dotted, "critical": critical, "extn_value": core.ParsableOctetString(value)}


def status_extensions(name: str) -> list[dict[str, Any]]:
    access = [{"access_method": "ocsp", "access_location": x509.GeneralName("uniform_resource_identifier", URLS.ocsp)}]
    access.append(
        {
            "access_method": "ca_issuers",
            "access_location": x509.GeneralName("uniform_resource_identifier", f"{URLS.repository}/qualified.cer"),
        }
    )
    found = [extension("1.3.6.1.5.5.7.1.1", x509.AuthorityInfoAccessSyntax(access).dump())]
    if name != "tsu":
        lists = x509.GeneralName("uniform_resource_identifier", f"{URLS.repository}/qualified.crl")
        point = x509.DistributionPoint({"distribution_point": x509.DistributionPointName("full_name", [lists])})
        found.insert(0, extension("2.5.29.31", x509.CRLDistributionPoints([point]).dump()))
        found += [] if name.endswith("seal") else [extension("0.4.0.194121.2.1", NULL)]
    return found


def statement_extension(name: str, semantics: bool) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = []
    last = 2 if name.endswith("seal") else 1
    if semantics and name != "tsu":
        statements.append({"id": "1.3.6.1.5.5.7.11.2", "info": core.Any(Oids([f"0.4.0.194121.1.{last}"]))})
    if "qualified" in name:
        statements.append({"id": "0.4.0.1862.1.1"})
        if name.startswith("qualified"):
            statements.append({"id": "0.4.0.1862.1.4"})
        statements.append({"id": "0.4.0.1862.1.6", "info": core.Any(Oids([f"0.4.0.1862.1.6.{last}"]))})
        places = Places([{"url": url, "language": language} for language, url in sorted(URLS.pds.items())])
        statements.append({"id": "0.4.0.1862.1.5", "info": core.Any(places)})
    return [extension("1.3.6.1.5.5.7.1.3", Statements(statements).dump())] if statements else []


POLICIES = {
    "advanced": [f"{ARC}.1.1", "0.4.0.2042.1.3"],
    "advanced-qualified": [f"{ARC}.1.2", "0.4.0.194112.1.0"],
    "qualified": [f"{ARC}.1.3", "0.4.0.194112.1.2"],
    "advanced-seal": [f"{ARC}.1.4", "0.4.0.2042.1.1"],
    "advanced-qualified-seal": [f"{ARC}.1.5", "0.4.0.194112.1.1"],
    "qualified-seal": [f"{ARC}.1.6", "0.4.0.194112.1.3"],
    "tsu": [f"{ARC}.2.1", "0.4.0.2042.1.1"],
}
SEALS = ["advanced-seal", "advanced-qualified-seal", "qualified-seal"]
LIFETIMES = {"tsu": timedelta(days=1461)} | dict.fromkeys(SEALS, timedelta(days=1095))


def point(spki: bytes) -> bytes:
    """What the key identifier is made of: the contents of subjectPublicKey (RFC 7093, 2)."""
    return bytes(keys.PublicKeyInfo.load(spki)["public_key"].contents[1:])


def reference(
    name: str, facts: IssuerFacts, subject: SubjectName, spki: bytes, serial: int, start: datetime
) -> x509.TbsCertificate:
    """What the builder should build, written down once more with asn1crypto."""
    algorithm = "sha256_ecdsa" if len(facts.spki) == 91 else "sha384_ecdsa"
    start = start.replace(microsecond=0)
    lifetime = LIFETIMES.get(name, timedelta(hours=1))
    usage = {"digital_signature"} if name == "tsu" else {"non_repudiation"}
    extensions = [
        extension("2.5.29.35", x509.AuthorityKeyIdentifier({"key_identifier": facts.key_id}).dump()),
        extension("2.5.29.14", core.OctetString(hashlib.sha256(point(spki)).digest()[:20]).dump()),
        extension("2.5.29.15", x509.KeyUsage(usage).dump(), critical=True),
    ]
    if name == "tsu":
        period = {"not_before": start, "not_after": start + timedelta(days=365, seconds=-1)}
        extensions.append(extension("2.5.29.16", Period(period).dump()))
    policies = x509.CertificatePolicies([{"policy_identifier": dotted} for dotted in POLICIES[name]])
    extensions.append(extension("2.5.29.32", policies.dump()))
    purposes = x509.ExtKeyUsageSyntax(
        ["time_stamping"] if name == "tsu" else ["1.3.6.1.5.5.7.3.36", "email_protection"]
    )
    extensions.append(extension("2.5.29.37", purposes.dump(), critical=name == "tsu"))
    extensions += status_extensions(name) + statement_extension(name, subject.semantic)
    return x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": serial,
            "signature": algos.SignedDigestAlgorithm({"algorithm": algorithm}),
            "issuer": x509.Name.load(facts.name),
            "validity": {"not_before": time(start), "not_after": time(start + lifetime - timedelta(seconds=1))},
            "subject": x509.Name.load(subject.der()),
            "subject_public_key_info": keys.PublicKeyInfo.load(spki),
            "extensions": extensions,
        }
    )


@pytest.mark.requirement("CA-1", "CA-4")
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["advanced", "advanced-qualified", "qualified"]),
    st.sampled_from(sorted(ISSUERS)),
    st.sampled_from([PERSON, PersonName("Ana", "Novak", "SI", "17"), PSEUDONYM, EMPLOYEE, HIDDEN_EMPLOYEE]),
    st.sampled_from(KEYS),
    SERIALS,
    MOMENTS,
)
def test_one_time_certificates_are_what_asn1crypto_encodes(
    name: str, strength: str, subject: PersonName, spki: bytes, serial: int, start: datetime
) -> None:
    facts = ISSUERS[strength]
    built = build_tbs(PROFILES[name], facts, subject, spki, serial, start, URLS)
    assert built == reference(name, facts, subject, spki, serial, start).dump()


@pytest.mark.requirement("CA-2", "CA-3", "CA-4")
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SEALS), st.sampled_from([*KEYS, *RSA_KEYS]), SERIALS, MOMENTS)
def test_seal_certificates_are_what_asn1crypto_encodes(name: str, spki: bytes, serial: int, start: datetime) -> None:
    facts = ISSUERS["P384"]
    built = build_tbs(PROFILES[name], facts, CREATOR, spki, serial, start, URLS)
    assert built == reference(name, facts, CREATOR, spki, serial, start).dump()


@pytest.mark.requirement("CA-1", "TSA-1")
@settings(max_examples=25, deadline=None)
@given(SERIALS, MOMENTS)
def test_unit_certificates_are_what_asn1crypto_encodes(serial: int, start: datetime) -> None:
    facts = ISSUERS["P256"]
    built = build_tbs(PROFILES["tsu"], facts, SERVICE, KEYS[0], serial, start, URLS)
    assert built == reference("tsu", facts, SERVICE, KEYS[0], serial, start).dump()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KEYS), SERIALS, MOMENTS, st.binary(min_size=8, max_size=72))
def test_template_splices_what_the_builder_builds(spki: bytes, serial: int, start: datetime, signature: bytes) -> None:
    profile, facts = PROFILES["advanced-qualified"], ISSUERS["P256"]
    template = Template(profile, facts, URLS, semantics=True)
    tbs = template.tbs(PERSON.der(), spki, serial, start)
    assert tbs == build_tbs(profile, facts, PERSON, spki, serial, start, URLS)
    certificate = x509.Certificate.load(assemble(tbs, signature, ECDSA_SHA256), strict=True)
    assert certificate["tbs_certificate"].dump() == tbs
    assert certificate["signature_value"].native == signature
    assert certificate["signature_algorithm"].native == {"algorithm": "sha256_ecdsa", "parameters": None}


@pytest.mark.requirement("CA-5")
@settings(deadline=None)
@given(MOMENTS)
def test_one_hour_counts_both_ends(start: datetime) -> None:
    not_before, not_after = validity(PROFILES["advanced"], start)
    assert not_after - not_before == timedelta(seconds=3599)
    assert not_before.microsecond == 0
    assert timedelta(0) <= start - not_before < timedelta(seconds=1)


def test_every_key_signs_with_a_digest_of_its_strength() -> None:
    small, large = SoftKey().public_spki, SoftKey(ec.SECP384R1()).public_spki
    assert (key_name(small), algorithm_of(small)) == ("P256", ECDSA_SHA256)
    assert (key_name(large), algorithm_of(large)) == ("P384", ECDSA_SHA384)


def test_every_rsa_key_has_the_name_of_its_size_and_binding() -> None:
    assert [key_name(spki) for spki in RSA_KEYS] == ["RSA3072", "RSA3072-PSS", "RSA3072-PSS", "RSA3072-PSS"]
    with pytest.raises(Invalid, match="key-unfit"):
        algorithm_of(RSA_KEYS[0])


def _changed_pss(**changes: Any) -> bytes:
    info = keys.PublicKeyInfo.load(RSA_KEYS[1]).copy()
    for name, value in changes.items():
        info["algorithm"]["parameters"][name] = value
    return bytes(info.dump(force=True))


def _other_rsa(modulus: int, exponent: int) -> bytes:
    return bytes(
        keys.PublicKeyInfo.wrap(keys.RSAPublicKey({"modulus": modulus, "public_exponent": exponent}), "rsa").dump()
    )


MODULUS = keys.PublicKeyInfo.load(RSA_KEYS[0])["public_key"].parsed["modulus"].native


@pytest.mark.requirement("CA-4")
@pytest.mark.parametrize(
    "spki",
    [
        _changed_pss(salt_length=20),
        _changed_pss(hash_algorithm={"algorithm": "sha1"}),
        _changed_pss(mask_gen_algorithm={"algorithm": "mgf1", "parameters": {"algorithm": "sha1"}}),
        _changed_pss(hash_algorithm={"algorithm": "sha384"}),
        _other_rsa(MODULUS >> 1024, 65537),
        _other_rsa(MODULUS << 8, 65537),
        RSA_KEYS[0] + b"\x00",
        RSA_KEYS[0][:-1],
        RSA_KEYS[0].replace(b"\x05\x00", b"\x04\x00", 1),
    ],
)
def test_other_rsa_keys_are_refused(spki: bytes) -> None:
    with pytest.raises(Invalid, match="key-unfit"):
        key_name(spki)


#: A number without small factors right above the prime 2^1279 - 1.
NEAR = next(n for n in range(2**1279 + 1, 2**1280, 2) if math.gcd(n, math.factorial(4096)) == 1)


@pytest.mark.parametrize(
    ("modulus", "exponent", "why"),
    [
        (MODULUS, 65537, None),
        (MODULUS, 3, "exponent"),
        (MODULUS, 65536, "exponent"),
        (MODULUS, 2**16 - 1, "exponent"),
        (MODULUS, 2**256 + 1, "exponent"),
        (MODULUS - 1, 65537, "small-factor"),
        (MODULUS // 3 * 3, 65537, "small-factor"),
        ((2**1279 - 1) ** 2, 65537, "near-primes"),
        ((2**1279 - 1) * NEAR, 65537, "near-primes"),
        (pow(65537, 4321), 65537, "roca"),
    ],
    ids=["fine", "three", "even", "small", "large", "even-modulus", "factor-3", "square", "near", "roca"],
)
def test_weak_rsa_keys_are_known(modulus: int, exponent: int, why: str | None) -> None:
    assert weakness(modulus, exponent) == why


@pytest.mark.parametrize(
    "spki",
    [
        b"",
        KEYS[0][:-1],
        KEYS[0] + b"\x00",
        SoftKey(ec.SECP521R1()).public_spki,
        SoftKey(ec.SECP256K1()).public_spki,
        KEYS[0].replace(b"\x42\x00\x04", b"\x42\x00\x02", 1),
    ],
)
def test_other_keys_are_refused(spki: bytes) -> None:
    with pytest.raises(Invalid, match="key-unfit"):
        key_name(spki)


def test_disclosure_statement_is_needed_in_english() -> None:
    urls = RepositoryUrls(URLS.repository, URLS.ocsp, {"sl": "https://www.example.si/pds"})
    with pytest.raises(Invalid, match="pds-missing"):
        Template(PROFILES["qualified"], ISSUERS["P256"], urls, semantics=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("ftp://a", "http://b", {}),
        ("http://a", "b", {}),
        ("http://a", "http://b", {"en": "http://c"}),
        ("http://a", "http://b", {"EN": "https://c"}),
        ("http://a", "http://b", {"eng": "https://c"}),
    ],
)
def test_unfit_addresses_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(Invalid, match="url-unfit"):
        RepositoryUrls(*arguments)


def test_issuer_facts_are_read_from_its_certificate() -> None:
    root = issuer("root", SoftKey(ec.SECP384R1()))
    key = SoftKey()
    tbs = build_tbs(PROFILES["subordinate-ca"], root.facts, SERVICE, key.public_spki, 2**100, NOW, URLS)
    facts = IssuerFacts.of("qualified", assemble(tbs, root.sign(tbs), root.algorithm))
    not_before, not_after = validity(PROFILES["subordinate-ca"], NOW)
    expected = "qualified", SERVICE.der(), key_identifier(key.public_spki), key.public_spki, not_before, not_after
    assert facts == IssuerFacts(*expected)
