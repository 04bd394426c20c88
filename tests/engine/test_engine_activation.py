"""What may sign: every reason to refuse an approval, each with its own code."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.engine.engine_kit import ISSUER, NOW, SUBSTANTIAL, Provider, digest_of
from tsp.core.clock import SettableClock
from tsp.core.errors import Invalid, Refused, TspError, Unavailable
from tsp.core.settings import load_settings
from tsp.engine.activation import HIGH, ActivationPolicy, Activator, default_levels, load_pinned_key
from tsp.engine.installation import activation_policy, pinned_key_file, server_limits, socket_path, terms

LOW = "http://eidas.europa.eu/LoA/low"
OTHER = ECKey.generate_key("P-256", private=True)


@pytest.fixture
def activator(provider: Provider, clock: SettableClock) -> Activator:
    return Activator(ActivationPolicy(issuer=ISSUER, levels=default_levels(qualified=True)), provider.key, clock)


def refusal(activator: Activator, sad: str, proof: str, digests: list[str]) -> str:
    with pytest.raises((Invalid, Refused)) as caught:
        activator.verify(sad, proof, digests)
    facts = json.dumps(caught.value.facts)
    assert "Ančka" not in facts
    assert "12345678" not in facts
    return caught.value.code


def test_a_good_approval_is_read_as_it_is(activator: Activator, provider: Provider) -> None:
    request = provider.request("a", "b")
    found = activator.verify(request.approval, request.proof, request.digests)
    activator.require_fresh(found)
    assert (found.kind, found.acr, found.client, found.session) == (
        "qualified",
        SUBSTANTIAL,
        "enkrat-sign",
        "signing-session-1",
    )
    assert found.expires_at == NOW + timedelta(minutes=5)
    assert [d.digest_signed for d in found.documents] == list(request.digests)
    assert found.person.common_name == "Ančka Žnidaršič"
    # What may end in a log by mistake holds no name.
    assert "Ančka" not in repr(found)


@pytest.mark.requirement("SIG-1", "CSC-2")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "another-engine"}, "approval-audience"),
        ({"aud": ["enkrat-engine", "other"]}, "approval-audience"),
        ({"iss": "http://localhost:9999"}, "approval-audience"),
        ({"exp": int(NOW.timestamp()) + 301}, "approval-expired"),
        ({"exp": int(NOW.timestamp())}, "approval-expired"),
        ({"iat": int(NOW.timestamp()) + 60, "exp": int(NOW.timestamp()) + 300}, "approval-expired"),
        ({"auth_time": int(NOW.timestamp()) + 60}, "approval-malformed"),
        ({"cnf": {"jkt": OTHER.thumbprint()}}, "approval-other-client"),
        ({"cnf": {}}, "approval-malformed"),
        ({"acr": LOW}, "assurance-too-low"),
        ({"acr": "high"}, "assurance-too-low"),
        ({"kind": "seal"}, "approval-malformed"),
        ({"jti": None}, "approval-malformed"),
        ({"jti": ""}, "approval-malformed"),
        ({"jti": 5}, "approval-malformed"),
        ({"iat": "now"}, "approval-malformed"),
        ({"iat": True}, "approval-malformed"),
        ({"sub": "x" * 65}, "approval-malformed"),
        ({"idv": None}, "approval-malformed"),
        ({"sid_sign": None}, "approval-malformed"),
        ({"amr": []}, "approval-malformed"),
        ({"subject": None}, "approval-malformed"),
        ({"subject": {"given_name": "Ančka"}}, "approval-malformed"),
        (
            {"subject": {"given_name": "A\x00", "family_name": "B", "country": "SI", "serial_number": "1"}},
            "name-unfit",
        ),
        (
            {"subject": {"given_name": "A", "family_name": "B", "country": "Slovenia", "serial_number": "1"}},
            "country-unfit",
        ),
    ],
)
def test_bad_claims_are_refused(activator: Activator, provider: Provider, changes: dict[str, Any], code: str) -> None:
    request = provider.request(**changes)
    assert refusal(activator, request.approval, request.proof, list(request.digests)) == code


@pytest.mark.parametrize(
    ("field", "value"),
    [("digest_signed", "AB" * 32), ("digest_signed", "ab"), ("pages", 0), ("pages", "3"), ("label", "")],
)
def test_bad_documents_are_refused(activator: Activator, provider: Provider, field: str, value: object) -> None:
    claims = provider.claims()
    claims["documents"][0][field] = value
    sad, digests = provider.sad(claims), [digest_of("signed contract")]
    assert refusal(activator, sad, provider.proof(sad, digests), digests) == "approval-malformed"


@pytest.mark.requirement("CSC-2", "SIG-5")
@pytest.mark.parametrize(
    "asked",
    [["a"], ["b", "a"], ["a", "b", "c"], ["a", "a"], ["a", "c"], []],
    ids=["a part", "another order", "one more", "one twice", "another", "none"],
)
def test_exactly_the_approved_documents_or_nothing(activator: Activator, provider: Provider, asked: list[str]) -> None:
    sad = provider.sad(provider.claims("a", "b"))
    digests = [digest_of(f"signed {name}") for name in asked]
    code = refusal(activator, sad, provider.proof(sad, digests), digests)
    # Without any digest the proof is no proof.
    assert code == ("approval-other-document" if digests else "approval-other-client")


def test_an_approval_names_each_document_once(activator: Activator, provider: Provider) -> None:
    request = provider.request("a", "a")
    assert refusal(activator, request.approval, request.proof, list(request.digests)) == "approval-malformed"


def test_more_documents_than_allowed_are_refused(provider: Provider, clock: SettableClock) -> None:
    policy = ActivationPolicy(issuer=ISSUER, levels=default_levels(qualified=True), max_documents=2)
    request = provider.request("a", "b", "c")
    activator = Activator(policy, provider.key, clock)
    assert refusal(activator, request.approval, request.proof, list(request.digests)) == "approval-malformed"


@pytest.mark.requirement("SIG-1")
def test_only_the_pinned_key_approves(activator: Activator, provider: Provider) -> None:
    claims, digests = provider.claims(), [digest_of("signed contract")]
    stranger = provider.sad(claims, key=OTHER)
    assert refusal(activator, stranger, provider.proof(stranger, digests), digests) == "approval-signature"
    # A key that comes with the approval is nobody's key.
    embedded = provider.sad(claims, key=OTHER, jwk=OTHER.as_dict(private=False))
    assert refusal(activator, embedded, provider.proof(embedded, digests), digests) == "approval-signature"


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed_by(key: ECKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A signed token whose header no library would write."""
    text = f"{part(header)}.{part(claims)}"
    private = key.private_key
    assert private is not None
    r, s = decode_dss_signature(private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{text}.{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": "engine-proof+jwt"}, {"alg": "ES384"}, {"typ": 5}])
def test_another_kind_of_token_is_no_approval(activator: Activator, provider: Provider, header: dict[str, Any]) -> None:
    claims = {**provider.claims(), "exp": provider.now + 300}
    sad = signed_by(provider.key, {"alg": "ES256", "typ": "sad+jwt", **header}, claims)
    digests = [digest_of("signed contract")]
    assert refusal(activator, sad, provider.proof(sad, digests), digests) == "approval-malformed"


def test_a_demand_that_is_not_understood_is_not_passed_over(activator: Activator, provider: Provider) -> None:
    # RFC 7515, 4.1.11: a critical header that is unknown makes the token invalid.
    header = {"alg": "ES256", "typ": "sad+jwt", "crit": ["exp"], "exp": 1}
    sad, digests = signed_by(provider.key, header, provider.claims()), [digest_of("signed contract")]
    assert refusal(activator, sad, provider.proof(sad, digests), digests) == "approval-signature"


def test_an_approval_without_signature_is_refused(activator: Activator, provider: Provider) -> None:
    digests = [digest_of("signed contract")]
    sad = f"{part({'alg': 'none', 'typ': 'sad+jwt'})}.{part(provider.claims())}."
    assert refusal(activator, sad, provider.proof(sad, digests), digests) == "approval-malformed"
    good = provider.sad(provider.claims())
    cut = good.rsplit(".", 1)[0] + "."
    assert refusal(activator, cut, provider.proof(cut, digests), digests) == "approval-signature"


@pytest.mark.requirement("CSC-2")
def test_only_the_client_of_the_approval_may_use_it(activator: Activator, provider: Provider) -> None:
    sad, digests = provider.sad(provider.claims()), [digest_of("signed contract")]
    other_sad = provider.sad(provider.claims())
    bare = {"alg": "ES256", "typ": "engine-proof+jwt"}
    bad = [
        provider.proof(sad, digests, key=OTHER),
        provider.proof(other_sad, digests),
        provider.proof(sad, [digest_of("other")]),
        provider.proof(sad, digests, typ="JWT"),
        provider.proof(sad, digests, iat=provider.now - 61),
        provider.proof(sad, digests, iat=provider.now + 6),
        jwt.encode(bare, {"sad_hash": "x", "digests": digests, "iat": provider.now}, provider.client),
        "a.b.c",
        "",
    ]
    assert {refusal(activator, sad, proof, digests) for proof in bad} == {"approval-other-client"}
    # The proof names one key and is signed by another.
    header = {"alg": "ES256", "typ": "engine-proof+jwt", "jwk": provider.client.as_dict(private=False)}
    claims = jwt.decode(provider.proof(sad, digests), provider.client, algorithms=["ES256"]).claims
    forged = jwt.encode(header, claims, OTHER)
    assert refusal(activator, sad, forged, digests) == "approval-other-client"


def test_a_proof_never_brings_a_private_key(activator: Activator, provider: Provider) -> None:
    sad, digests = provider.sad(provider.claims()), [digest_of("signed contract")]
    header = {"alg": "ES256", "typ": "engine-proof+jwt", "jwk": provider.client.as_dict(private=True)}
    claims = jwt.decode(provider.proof(sad, digests), provider.client, algorithms=["ES256"]).claims
    assert refusal(activator, sad, jwt.encode(header, claims, provider.client), digests) == "approval-other-client"


@pytest.mark.requirement("SIG-3")
def test_the_policy_says_which_level_signs_what(provider: Provider, clock: SettableClock) -> None:
    levels = {"advanced": frozenset({SUBSTANTIAL, HIGH}), "qualified": frozenset({HIGH})}
    activator = Activator(ActivationPolicy(issuer=ISSUER, levels=levels), provider.key, clock)

    def outcome(kind: str, acr: str) -> str:
        request = provider.request(kind=kind, acr=acr)
        try:
            return activator.verify(request.approval, request.proof, request.digests).kind
        except Refused as error:
            return error.code

    assert outcome("advanced", SUBSTANTIAL) == "advanced"
    assert outcome("qualified", HIGH) == "qualified"
    assert outcome("qualified", SUBSTANTIAL) == "assurance-too-low"
    assert outcome("advanced-qualified", HIGH) == "kind-not-available"


@pytest.mark.requirement("SIG-3")
def test_no_policy_lets_low_assurance_sign() -> None:
    with pytest.raises(ValueError, match="substantial and high"):
        ActivationPolicy(issuer=ISSUER, levels={"advanced": frozenset({LOW})})
    with pytest.raises(ValueError, match="kind"):
        ActivationPolicy(issuer=ISSUER, levels={"seal": frozenset({HIGH})})
    with pytest.raises(ValueError, match="five minutes"):
        ActivationPolicy(issuer=ISSUER, levels={}, lifetime=timedelta(minutes=6))


@pytest.mark.parametrize("late", [{"seconds": 300}, {"minutes": 31}])
def test_freshness_ends(activator: Activator, provider: Provider, clock: SettableClock, late: dict[str, float]) -> None:
    request = provider.request()
    found = activator.verify(request.approval, request.proof, request.digests)
    activator.require_fresh(found)
    clock.advance(**late)
    with pytest.raises(Refused, match="approval-expired"):
        activator.require_fresh(found)


def test_an_old_authentication_approves_nothing(activator: Activator, provider: Provider, clock: SettableClock) -> None:
    request = provider.request(auth_time=provider.now - 1801)
    found = activator.verify(request.approval, request.proof, request.digests)
    with pytest.raises(Refused, match="approval-expired"):
        activator.require_fresh(found)


TOKENS = st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,90}")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KIT_CLOCK = SettableClock(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
KIT = Provider(KIT_CLOCK)
KIT_ACTIVATOR = Activator(ActivationPolicy(issuer=ISSUER, levels=default_levels(qualified=True)), KIT.key, KIT_CLOCK)


@settings(deadline=None)
@given(TOKENS, TOKENS)
def test_any_text_is_refused_in_order(sad: str, proof: str) -> None:
    with pytest.raises(TspError):
        KIT_ACTIVATOR.verify(sad, proof, [])
    good = KIT.request()
    with pytest.raises(Refused, match="approval-other-client"):
        KIT_ACTIVATOR.verify(good.approval, proof, good.digests)


@settings(deadline=None)
@given(st.sampled_from(sorted(KIT.claims())), JSON)
def test_any_value_of_any_claim_is_accepted_or_refused_in_order(name: str, value: object) -> None:
    claims = {**KIT.claims(), name: value}
    sad, digests = KIT.sad(claims), [digest_of("signed contract")]
    try:
        found = KIT_ACTIVATOR.verify(sad, KIT.proof(sad, digests), digests)
    except (Invalid, Refused):
        return
    assert name in ("jti", "sub", "idv", "sid_sign", "client_id", "amr", "auth_time")
    assert found.kind == "qualified"


@settings(deadline=None)
@given(JSON)
def test_any_embedded_key_is_refused_in_order(value: object) -> None:
    good = KIT.request()
    for jwk in (value, {"kty": "EC", "crv": "P-256", "x": value, "y": value}):
        proof = f"{part({'alg': 'ES256', 'typ': 'engine-proof+jwt', 'jwk': jwk})}.{part({})}.AAAA"
        with pytest.raises(Refused, match="approval-other-client"):
            KIT_ACTIVATOR.verify(good.approval, proof, good.digests)


def test_the_pinned_key_is_read_from_its_file(provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    with pytest.raises(Unavailable, match="approval-key-missing"):
        load_pinned_key(file)
    file.write_text("{}")
    with pytest.raises(Unavailable, match="approval-key-missing"):
        load_pinned_key(file)
    file.write_text(json.dumps(provider.key.as_dict(private=False)))
    assert load_pinned_key(file).thumbprint() == provider.key.thumbprint()
    file.write_text(json.dumps(ECKey.generate_key("P-384", private=False).as_dict()))
    with pytest.raises(Unavailable, match="approval-key-missing"):
        load_pinned_key(file)


@pytest.mark.requirement("SIG-3")
def test_the_settings_become_the_policy(tmp_path: Path) -> None:
    settings = load_settings().model_copy(update={"var": tmp_path})
    policy = activation_policy(settings)
    assert policy.issuer == "http://localhost:8401"
    assert policy.levels == default_levels(qualified=True)
    production = settings.model_copy(update={"mode": "production"})
    assert set(activation_policy(production).levels) == {"advanced", "advanced-qualified"}
    with_qscd = production.model_copy(update={"hsm": settings.hsm.model_copy(update={"qscd": True})})
    assert "qualified" in activation_policy(with_qscd).levels
    assert terms(settings).lease == timedelta(seconds=30)
    assert server_limits(settings).connections == 16
    assert socket_path(settings) == tmp_path / "run" / "engine.sock"
    assert socket_path(settings, 2) == tmp_path / "run" / "engine.2.sock"
    assert pinned_key_file(settings).name == "idp-approval.jwk.json"
