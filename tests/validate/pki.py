"""A small public key infrastructure for tests, and other people's tools as producers of signatures.

Certificates come from `cryptography`; PDF signatures from our own `pades` + `cms` with a software
key, or from pyHanko's signer; time-stamps from pyHanko's test authority.
"""

import asyncio
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from asn1crypto import keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.timestamps import DummyTimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from tsp.core.isolated import Isolated
from tsp.formats import cms, pades
from tsp.validate.trust import TrustAnchors

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
VALIDITY_ASSURED = x509.ObjectIdentifier("0.4.0.194121.2.1")
QC_STATEMENTS = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3")

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class Party:
    """A key with its certificate; for an authority also what it has revoked."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple["Party", ...] = ()
    revoked: dict[int, tuple[datetime, x509.ReasonFlags]] = field(default_factory=dict)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain_der(self) -> list[bytes]:
        return [p.der for p in self.chain]

    def asn1(self) -> asn1_x509.Certificate:
        return asn1_x509.Certificate.load(self.der)

    def asn1_key(self) -> keys.PrivateKeyInfo:
        return keys.PrivateKeyInfo.load(self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COUNTRY_NAME, "SI"), x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def _usage(**true: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{n: true.get(n, False) for n in names})


class Pki:
    """Root, issuing authority, time-stamping unit, status responders; times are explicit."""

    def __init__(self) -> None:
        self.root = self._authority("Testni koren", None, NOW - timedelta(days=2000), NOW + timedelta(days=5000))
        self.issuing = self._authority(
            "Testni overitelj", self.root, NOW - timedelta(days=1000), NOW + timedelta(days=3000)
        )
        self.responder = self.end_entity(
            "Odzivnik",
            purposes=[ExtendedKeyUsageOID.OCSP_SIGNING],
            start=NOW - timedelta(days=300),
            end=NOW + timedelta(days=3000),
            extra=[(x509.OCSPNoCheck(), False)],
        )
        self.stamping_key = rsa.generate_private_key(65537, 3072)
        self.unit = self.time_stamping_unit(NOW - timedelta(days=300), NOW + timedelta(days=1500))

    def _authority(self, name: str, issuer: Party | None, start: datetime, end: datetime) -> Party:
        key = ec.generate_private_key(ec.SECP256R1())
        signer = issuer.key if issuer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(issuer.certificate.subject if issuer else _name(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return Party(builder.sign(signer, hashes.SHA256()), key, (issuer,) if issuer else ())

    def end_entity(
        self,
        name: str,
        *,
        start: datetime,
        end: datetime,
        purposes: Sequence[x509.ObjectIdentifier] = (),
        extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
        issuer: Party | None = None,
        key: PrivateKey | None = None,
        critical_purposes: bool = False,
        usage: x509.KeyUsage | None = None,
        digest: hashes.HashAlgorithm | None = None,
    ) -> Party:
        issuer = issuer or self.issuing
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(usage or _usage(content_commitment=True, digital_signature=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=critical_purposes)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical=critical)
        certificate = builder.sign(issuer.key, digest or hashes.SHA256())
        return Party(certificate, key, (issuer, *issuer.chain))

    def one_time(self, start: datetime = NOW - timedelta(minutes=1), *, qualified: bool = False) -> Party:
        """A certificate of one hour that cannot be revoked (EN 319 412-1, 5.2)."""
        extra: list[tuple[x509.ExtensionType, bool]] = [
            (x509.UnrecognizedExtension(VALIDITY_ASSURED, b"\x05\x00"), False)
        ]
        if qualified:
            extra.append((x509.UnrecognizedExtension(QC_STATEMENTS, qualified_statements()), False))
        return self.end_entity("Ana Žabkar", start=start, end=start + timedelta(hours=1), extra=extra)

    def ordinary(self, *, days: int = 700, start: datetime = NOW - timedelta(days=100)) -> Party:
        """A certificate of years whose status has to be known."""
        aia = x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.test")
                )
            ]
        )
        return self.end_entity("Bojan Črnič", start=start, end=start + timedelta(days=days), extra=[(aia, False)])

    def time_stamping_unit(self, start: datetime, end: datetime, *, key: PrivateKey | None = None) -> Party:
        return self.end_entity(
            "Časovni žig",
            start=start,
            end=end,
            purposes=[ExtendedKeyUsageOID.TIME_STAMPING],
            critical_purposes=True,
            key=key or self.stamping_key,
            usage=_usage(digital_signature=True),
        )

    # --- status -----------------------------------------------------------------------------------

    def ocsp(
        self,
        party: Party,
        made: datetime,
        *,
        valid: timedelta = timedelta(hours=1),
        revoked_at: datetime | None = None,
        reason: x509.ReasonFlags | None = None,
        responder: Party | None = None,
    ) -> bytes:
        responder = responder or self.responder
        status = ocsp.OCSPCertStatus.REVOKED if revoked_at else ocsp.OCSPCertStatus.GOOD
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=party.certificate,
                issuer=party.chain[0].certificate,
                algorithm=hashes.SHA256(),
                cert_status=status,
                this_update=made,
                next_update=made + valid,
                revocation_time=revoked_at,
                revocation_reason=reason,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
            .certificates([responder.certificate])
        )
        return builder.sign(responder.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def crl(self, issuer: Party, made: datetime, *, valid: timedelta = timedelta(days=30)) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(made)
            .next_update(made + valid)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        for serial, (when, reason) in issuer.revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
            builder = builder.add_revoked_certificate(
                entry.add_extension(x509.CRLReason(reason), critical=False).build()
            )
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)

    @property
    def trust(self) -> TrustAnchors:
        """The root alone."""
        return TrustAnchors((self.root.der,))

    # --- signatures -------------------------------------------------------------------------------

    def stamp(self, value: bytes, when: datetime, unit: Party | None = None) -> bytes:
        """A time-stamp token over `value`."""
        token = asyncio.run(self.stamper(when, unit).async_timestamp(hashlib.sha256(value).digest(), "sha256"))
        dumped: bytes = token.dump()
        return dumped

    def stamper(self, when: datetime, unit: Party | None = None) -> DummyTimeStamper:
        unit = unit or self.unit
        return DummyTimeStamper(
            unit.asn1(),
            unit.asn1_key(),
            certs_to_embed=SimpleCertificateStore.from_certs([p.asn1() for p in unit.chain]),
            fixed_dt=when,
        )


def qualified_statements() -> bytes:
    """QcCompliance, QcSSCD and QcType esign."""
    from tsp.core import der

    return der.seq(
        der.seq(der.oid("0.4.0.1862.1.1")),
        der.seq(der.oid("0.4.0.1862.1.4")),
        der.seq(der.oid("0.4.0.1862.1.6"), der.seq(der.oid("0.4.0.1862.1.6.1"))),
    )


def signed_cms(prepared: pades.Prepared, signer: Party, *, certificate: bytes | None = None) -> bytes:
    """The B-B signature of a prepared document by a software key."""
    attributes = cms.signed_attributes(prepared.digest_signed, certificate or signer.der)
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signature = signer.key.sign(attributes, ec.ECDSA(hashes.SHA256()))
    return cms.signed_data(attributes, signature, signer.der, signer.chain_der)


def sign(
    isolated: Isolated,
    pki: Pki,
    pdf: bytes,
    signer: Party,
    *,
    at: datetime = NOW,
    stamped: datetime | None = None,
    unit: Party | None = None,
) -> tuple[pades.Prepared, bytes]:
    """A document prepared and signed by our own code: the prepared file and the CMS (B-B, or B-T)."""
    prepared = pades.freeze(isolated, pdf, claimed_time=at, name="Ana Žabkar")
    made = signed_cms(prepared, signer)
    if stamped is not None:
        made = cms.add_signature_timestamp(made, pki.stamp(cms.signature_value(made), stamped, unit))
    return prepared, made


def sign_foreign(
    pdf: bytes,
    signer: Party,
    *,
    stamper: DummyTimeStamper | None = None,
    subfilter: SigSeedSubFilter = SigSeedSubFilter.PADES,
    certify: MDPPerm | None = None,
    field_name: str = "Podpis",
    digest: str = "sha256",
) -> bytes:
    """The same by pyHanko's own signer."""
    simple = signers.SimpleSigner(
        signing_cert=signer.asn1(),
        signing_key=signer.asn1_key(),
        cert_registry=SimpleCertificateStore.from_certs([p.asn1() for p in signer.chain]),
    )
    meta = signers.PdfSignatureMetadata(
        field_name=field_name,
        md_algorithm=digest,
        subfilter=subfilter,
        certify=certify is not None,
        docmdp_permissions=certify or MDPPerm.FILL_FORMS,
    )
    output = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf), strict=False)
    signers.PdfSigner(meta, simple, timestamper=stamper).sign_pdf(writer, output=output)
    return output.getvalue()


def stamp_document(pdf: bytes, stamper: DummyTimeStamper, *, field_name: str = "Arhiv") -> bytes:
    """A document time-stamp by pyHanko."""
    output = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf), strict=False)
    stamp = signers.PdfTimeStamper(stamper, field_name=field_name)
    asyncio.run(stamp.async_timestamp_pdf(writer, "sha256", output=output))
    return output.getvalue()
