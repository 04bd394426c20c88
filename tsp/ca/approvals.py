"""Approvals of a plan and signatures of a transcript: detached CMS (RFC 5652) by the officers of the plan.

Read strictly and believed for what the plan says alone: the signer is found among its officers by key, certificates
inside the message count for nothing. Made by `tsp ceremony approve` and `sign`, or by
`openssl cms -sign -binary -in PLAN -signer ANA.pem -inkey ANA.key -outform DER -out ana.p7s`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asn1crypto import cms, pem
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from tsp.ca.officers import Officer
from tsp.core.errors import Invalid, Refused, TspError

#: A signature with a certificate inside has less than a tenth of this.
MAX_OCTETS: Final = 65536
_HASHES: Final = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


@dataclass(frozen=True, slots=True)
class Approval:
    """A valid signature of one officer. `file` is where it was read."""

    file: str
    officer: Officer
    octets: bytes


def sign_detached(content: bytes, certificate: bytes, key: bytes, passphrase: bytes | None) -> bytes:
    """Detached CMS (DER) over `content`; certificate and key are PEM, the key RSA or on a curve.

    Raises `Invalid` (officer-key-unfit) where the two cannot be read or do not belong together.
    """
    try:
        signer = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key, passphrase)
    except (ValueError, TypeError) as error:
        raise _unfit("Certificate or key is not PEM, or the passphrase is wrong.") from error
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _unfit("Only keys for RSA and ECDSA can sign here.")
    if private.public_key() != signer.public_key():
        raise _unfit("The key is not the one in the certificate.")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(signer, private, hashes.SHA256())
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCapabilities]
    return builder.sign(serialization.Encoding.DER, options)


def signer_of(signature: bytes, content: bytes, officers: Sequence[Officer], at: datetime) -> Officer:
    """The officer who made this detached CMS (DER or PEM) over `content`.

    Raises `Invalid`: approval-malformed, approval-other-content; `Refused`: approver-unknown where no officer's key
    made it, approval-signature-wrong where the message names an officer's certificate, whose key did not make it,
    approver-certificate-expired where that certificate was not valid `at` that moment.
    """
    signer, attributes = _parsed(signature)
    digest = hashlib.new(_hash(signer), content).digest()
    if attributes.get("message_digest") != digest:
        raise Invalid(
            "approval-other-content",
            "The signature is over other octets. Sign exactly this file, with -binary where openssl does it.",
        )
    signed = signer["signed_attrs"].untag().dump()
    for officer in officers:
        if _made_by(officer, signer, signed):
            if not officer.valid_at(at):
                raise Refused(
                    "approver-certificate-expired",
                    f"The certificate of {officer.name} is not valid now. A new one needs a new plan.",
                )
            return officer
    for officer in officers:
        if _names(signer, officer):
            raise Refused(
                "approval-signature-wrong",
                f"The signature names the certificate of {officer.name}, but that key did not make it. Sign anew.",
            )
    raise Refused("approver-unknown", "The signature is not made with the key of an officer of the plan.")


def approvals_of(
    files: Mapping[str, bytes], content: bytes, officers: Sequence[Officer], at: datetime
) -> tuple[list[Approval], dict[str, TspError]]:
    """The valid approvals in `files` by file, and why the others are not valid.

    The second file of one officer is approval-twice: m approvals are m people.
    """
    found: list[Approval] = []
    wrong: dict[str, TspError] = {}
    for file, octets in sorted(files.items()):
        try:
            officer = signer_of(octets, content, officers, at)
            if officer in [one.officer for one in found]:
                raise Refused("approval-twice", f"{officer.name} approved already. Everybody counts once.")
            found.append(Approval(file, officer, octets))
        except TspError as error:
            wrong[file] = error
    return found, wrong


def require_approvals(
    files: Mapping[str, bytes], content: bytes, officers: Sequence[Officer], needed: int, at: datetime
) -> list[Approval]:
    """All valid approvals, at least `needed`, and no file that is not one.

    Raises the error of the first file that is not valid, `Refused` (approvals-too-few) and `Invalid`
    (ceremony-officers-missing) where the plan names nobody who could approve it.
    """
    if not officers or needed < 1:
        raise Invalid(
            "ceremony-officers-missing",
            "The plan names no officers who could approve it. Add them, each with a certificate, and say in "
            "`approvals` how many must agree.",
        )
    found, wrong = approvals_of(files, content, officers, at)
    for file, error in wrong.items():
        raise type(error)(error.code, f"{file}: {error.sentence}")
    if len(found) < needed:
        raise Refused(
            "approvals-too-few",
            f"{len(found)} of {needed} approvals are there. Each officer approves with `tsp ceremony approve`.",
            found=len(found),
            needed=needed,
        )
    return found


def _parsed(signature: bytes) -> tuple[cms.SignerInfo, dict[str, object]]:
    """The one SignerInfo and its signed attributes by name, each there once."""
    try:
        if len(signature) > MAX_OCTETS:
            raise ValueError("too long")
        der = pem.unarmor(signature)[2] if pem.detect(signature) else signature
        message = cms.ContentInfo.load(der, strict=True)
        if message["content_type"].native != "signed_data":
            raise ValueError("not SignedData")
        data = message["content"]
        if len(data["signer_infos"]) != 1 or data["encap_content_info"]["content"].native is not None:
            raise ValueError("not one signer, or not detached")
        signer = data["signer_infos"][0]
        signer.native  # noqa: B018  (reads every field)
        names = [attribute["type"].native for attribute in signer["signed_attrs"]]
        if len(set(names)) != len(names):
            raise ValueError("an attribute twice")
        attributes = {a["type"].native: a["values"][0].native for a in signer["signed_attrs"] if len(a["values"]) == 1}
        if attributes.get("content_type") != "data":
            raise ValueError("no content type")
        _hash(signer)
    except (ValueError, TypeError, KeyError) as error:
        raise Invalid(
            "approval-malformed",
            "This is not a detached CMS signature by one person with signed attributes (DER or PEM, SHA-2).",
        ) from error
    return signer, attributes


def _hash(signer: cms.SignerInfo) -> str:
    name = str(signer["digest_algorithm"]["algorithm"].native)
    if name not in _HASHES:
        raise ValueError("weak digest")
    return name


def _made_by(officer: Officer, signer: cms.SignerInfo, signed: bytes) -> bool:
    """Whether this officer's key signed the attributes (RFC 5652, 5.4). False for a key of another kind, too."""
    signature, kind = signer["signature"].native, str(signer["signature_algorithm"]["algorithm"].native)
    digest, key = _HASHES[_hash(signer)], officer.key
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if kind == "rsassa_pss":
                pss = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO)
                key.verify(signature, signed, pss, digest)
            else:
                key.verify(signature, signed, padding.PKCS1v15(), digest)
        else:
            key.verify(signature, signed, ec.ECDSA(digest))
    except InvalidSignature:
        return False
    return True


def _names(signer: cms.SignerInfo, officer: Officer) -> bool:
    """Whether the message says that this officer's certificate is the signer's (RFC 5652, 5.3). A claim, no proof."""
    sid, own = signer["sid"], officer.parsed
    if sid.name == "issuer_and_serial_number":
        issuer = sid.chosen["issuer"].dump()
        return bool(sid.chosen["serial_number"].native == own.serial_number and issuer == own.issuer.public_bytes())
    try:
        identifier = own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
    return bool(sid.chosen.native == identifier)


def _unfit(sentence: str) -> Invalid:
    return Invalid("officer-key-unfit", sentence)
