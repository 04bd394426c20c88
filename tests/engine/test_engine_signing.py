"""One approval, one key, one certificate, one signature; then the key is gone (SIG-1, EVD-1, EVD-5)."""

import json
from hashlib import sha256

import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import tsp as asn1_tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import func, select

from tests.engine.engine_kit import Provider, Room, digest_of
from tsp.audit.canonical import canonical
from tsp.audit.entries import commitment, parse_leaf
from tsp.audit.tables import Entry
from tsp.ca.tables import Certificate
from tsp.core.der import oid
from tsp.core.errors import Conflict, Refused
from tsp.engine.evidence import position_in_log
from tsp.engine.protocol import SignatureResult
from tsp.engine.tables import Approval, Evidence, Signature, SignatureIntent


def count(room: Room, table: type) -> int:
    with room.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def check_cms(result: SignatureResult, digest: str) -> x509.Certificate:
    """The signature as a stranger checks it: attributes over the digest, value over the attributes."""
    data = asn1_cms.ContentInfo.load(result.cms)["content"]
    (signer,) = data["signer_infos"]
    attributes = {item["type"].native: item["values"][0] for item in signer["signed_attrs"]}
    assert set(attributes) == {"content_type", "message_digest", "signing_certificate_v2"}
    assert isinstance(attributes["signing_certificate_v2"], asn1_tsp.SigningCertificateV2)
    assert attributes["content_type"].native == "data"
    assert attributes["message_digest"].native.hex() == digest
    (named,) = attributes["signing_certificate_v2"]["certs"]
    assert named["cert_hash"].native == sha256(result.certificate).digest()
    certificate = x509.load_der_x509_certificate(result.certificate)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signed = b"\x31" + signer["signed_attrs"].dump()[1:]
    key.verify(signer["signature"].native, signed, ec.ECDSA(hashes.SHA256()))
    return certificate


@pytest.mark.requirement("SIG-1", "SIG-5", "CA-2")
def test_an_approval_becomes_a_signature_and_the_key_is_gone(room: Room, provider: Provider) -> None:
    with room.engine() as engine:
        (result,) = engine.sign(provider.request("contract"))
    assert result.digest == digest_of("signed contract")
    certificate = check_cms(result, result.digest)
    assert "Ančka Žnidaršič" in certificate.subject.rfc4514_string()
    issuer = x509.load_der_x509_certificate(room.issuer)
    certificate.verify_directly_issued_by(issuer)
    assert room.one_time_keys() == 0
    with room.database.read() as session:
        row = session.scalars(select(Certificate)).one()
        assert (row.der, row.subject_ref, row.profile) == (result.certificate, "account-1", "qualified")
        approval = session.scalars(select(Approval)).one()
        assert (approval.state, approval.attempt, approval.worker) == ("signed", 1, None)
        intent = session.scalars(select(SignatureIntent)).one()
        assert (intent.outcome, intent.serial) == ("done", row.serial)


@pytest.mark.requirement("EVD-1", "EVD-4", "EVD-5")
def test_the_evidence_tells_the_whole_story(room: Room, provider: Provider) -> None:
    request = provider.request("contract")
    with room.engine() as engine:
        (result,) = engine.sign(request)
    told = result.evidence
    assert told["approval"]["sad_sha256"] == sha256(request.approval.encode()).hexdigest()
    assert told["approval"]["attestation"] == "attested-by-provider"
    assert told["approval"]["amr"] == ["pwd", "sms", "mfa"]
    assert told["approval"]["idv"] == "verification-1"
    assert told["approval"]["session"] == "signing-session-1"
    assert told["approval"]["client"] == "enkrat-sign"
    assert told["document"] == {
        "digest_algorithm": "sha256",
        "digest_shown": digest_of("shown contract"),
        "digest_signed": digest_of("signed contract"),
        "pages": 3,
    }
    assert told["key"]["attributes"] == {
        "local": True,
        "sensitive": True,
        "always_sensitive": True,
        "extractable": False,
        "never_extractable": True,
        "token": False,
    }
    destruction = dict(told["key"]["destruction"])
    assert "C_DestroyObject" in destruction.pop("mechanism")
    assert destruction == {"destroyed_call_ok": True, "found_after": 0, "checked": True}
    assert told["key"]["vendor_attestation"] == "none"
    assert told["certificate"]["sha256"] == sha256(result.certificate).hexdigest()
    assert told["certificate"]["serial"] == f"{asn1_x509.Certificate.load(result.certificate).serial_number:032x}"
    assert told["signature"]["cms_sha256"] == sha256(result.cms).hexdigest()
    times = told["times"]
    assert all(time.endswith("Z") and len(time) == 27 for time in times.values())
    assert {"received", "reserved", "generated", "certified", "signed", "verified", "destroyed", "checked"} < set(times)
    # Nothing in the record says who the person is or how the document is called.
    text = json.dumps(told, ensure_ascii=False)
    assert not any(word in text for word in ("Ančka", "Žnidaršič", "12345678", "contract"))


@pytest.mark.requirement("EVD-2", "SIG-6")
def test_the_log_holds_the_salted_digest_of_the_evidence_alone(room: Room, provider: Provider) -> None:
    with room.engine() as engine:
        (result,) = engine.sign(provider.request("contract"))
    with room.database.read() as session:
        kept = session.get_one(Evidence, result.evidence_id)
        entry = session.get_one(Entry, kept.entry_id)
        kinds = list(session.scalars(select(Entry.kind).order_by(Entry.id)))
        assert position_in_log(session, result.evidence_id) is None
        assert kinds == ["signature-intended", "certificate-issued", "signature-made"]
        assert kept.record.encode() == canonical(result.evidence)
        assert kept.sha256 == sha256(kept.record.encode()).hexdigest()
        assert json.loads(entry.content)["facts"] == {"evidence": kept.id, "sha256": kept.sha256}
        assert parse_leaf(entry.leaf).commitment == commitment(entry.salt, entry.content.encode())
        assert entry.leaf_hash.hex() == result.leaf
        leaves = b"".join(session.scalars(select(Entry.leaf)))
        assert not any(word in leaves for word in (b"account-1", kept.sha256.encode(), result.digest.encode()))


@pytest.mark.requirement("BAT-1", "SIG-1")
def test_each_document_of_an_approval_gets_a_key_of_its_own(room: Room, provider: Provider) -> None:
    names = ("first", "second", "third")
    with room.engine() as engine:
        results = engine.sign(provider.request(*names))
    assert [result.digest for result in results] == [digest_of(f"signed {name}") for name in names]
    keys = {check_cms(result, result.digest).public_key().public_numbers() for result in results}  # type: ignore[union-attr]
    assert len(keys) == 3
    assert len({result.evidence["certificate"]["serial"] for result in results}) == 3
    assert count(room, Signature) == count(room, Evidence) == count(room, Certificate) == 3


@pytest.mark.requirement("CSC-2", "SIG-1")
def test_the_same_approval_again_gives_the_stored_result(room: Room, provider: Provider) -> None:
    request = provider.request("one", "two")
    with room.engine() as engine:
        first = engine.sign(request)
        room.clock.advance(minutes=10)  # long after the approval has expired
        again = engine.sign(provider.again(request.approval, list(request.digests)))
    assert again == first
    assert count(room, Signature) == 2


@pytest.mark.requirement("CSC-2")
def test_a_used_approval_signs_nothing_else(room: Room, provider: Provider) -> None:
    claims = provider.claims("contract")
    other = {**claims, "documents": provider.claims("other")["documents"]}
    with room.engine() as engine:
        engine.sign(provider.again(provider.sad(claims), [digest_of("signed contract")]))
        sad = provider.sad(claims)
        with pytest.raises(Refused, match="approval-other-document"):
            engine.sign(provider.again(sad, [digest_of("signed other")]))
        # Another approval under the same id, as a broken provider might make it.
        with pytest.raises(Conflict, match="approval-spent"):
            engine.sign(provider.again(provider.sad(other), [digest_of("signed other")]))
    assert count(room, Signature) == 1


@pytest.mark.requirement("SIG-3")
@pytest.mark.parametrize("kind", ["advanced", "advanced-qualified", "qualified"])
def test_each_kind_gets_its_certificate(room: Room, provider: Provider, kind: str) -> None:
    with room.engine() as engine:
        (result,) = engine.sign(provider.request(kind=kind))
    assert result.evidence["certificate"]["profile"] == kind
    whole = x509.load_der_x509_certificate(result.certificate)
    statements = whole.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3")).value
    assert isinstance(statements, x509.UnrecognizedExtension)
    # QcCompliance 0.4.0.1862.1.1 and QcSSCD 0.4.0.1862.1.4 (EN 319 412-5).
    found = [oid(f"0.4.0.1862.1.{number}") in statements.value for number in (1, 4)]
    assert found == [kind != "advanced", kind == "qualified"]


@pytest.mark.requirement("SIG-6")
def test_a_refused_approval_is_in_the_log(room: Room, provider: Provider) -> None:
    low = "http://eidas.europa.eu/LoA/low"
    with room.engine() as engine:
        with pytest.raises(Refused, match="assurance-too-low"):
            engine.sign(provider.request(acr=low))
        stale = provider.request()
        room.clock.advance(seconds=301)
        with pytest.raises(Refused, match="approval-expired"):
            engine.sign(provider.again(stale.approval, list(stale.digests)))
    with room.database.read() as session:
        facts = [json.loads(content)["facts"] for content in session.scalars(select(Entry.content))]
    assert [fact["code"] for fact in facts] == ["assurance-too-low", "approval-expired"]
    assert count(room, Approval) == 0
