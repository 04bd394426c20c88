"""A root, an intermediate authority and end certificates, made with `cryptography`: an independent hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Ten years around every moment that the tests stand on, the machine's own clock included.
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2044, 1, 1, tzinfo=UTC)


def name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "SI"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "TEST Enkrat"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(*certificates: bytes) -> bytes:
    loaded = [x509.load_der_x509_certificate(c) for c in certificates]
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in loaded)


_CURVE = ec.SECP256R1()


class Ca:
    """An authority with its key in memory: a new one, or the one whose `secret` number is told."""

    def __init__(self, common: str, parent: "Ca | None" = None, *, secret: int | None = None) -> None:
        self.key = ec.derive_private_key(secret, _CURVE) if secret else ec.generate_private_key(_CURVE)
        self.name = name(common)
        self.certificate = (parent or self).sign(
            self.name,
            self.key.public_key(),
            [
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (_usage(key_cert_sign=True, crl_sign=True), True),
            ],
        )

    @property
    def der(self) -> bytes:
        return der(self.certificate)

    @property
    def spki(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.DER, form)

    def sign(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
        serial: int | None = None,
        begin: datetime = BEGIN,
        end: datetime = END,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256())

    def tsu(
        self,
        spki: bytes,
        *,
        critical: bool = True,
        purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.TIME_STAMPING,),
        key_days: int | None = None,
    ) -> bytes:
        """A time-stamping unit's certificate; `key_days` after BEGIN its private key ends."""
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.ExtendedKeyUsage(purposes), critical),
            (_usage(digital_signature=True), True),
        ]
        if key_days is not None:
            extensions.append((x509.PrivateKeyUsagePeriod(BEGIN, BEGIN + timedelta(days=key_days)), False))
        return der(self.sign(name("TEST TSU"), load(spki), extensions))

    def ocsp(self, spki: bytes, *, end: datetime = END, purpose: bool = True, nocheck: bool = True) -> bytes:
        """A delegated responder's certificate."""
        extensions: list[tuple[x509.ExtensionType, bool]] = [(_usage(digital_signature=True), True)]
        if purpose:
            extensions.append((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False))
        if nocheck:
            extensions.append((x509.OCSPNoCheck(), False))
        return der(self.sign(name("TEST OCSP"), load(spki), extensions, end=end))

    def person(self, common: str, serial: int) -> bytes:
        """An end certificate with a key that nobody keeps."""
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        return der(self.sign(name(common), public, [(_usage(content_commitment=True), True)], serial=serial))


def load(spki: bytes) -> ec.EllipticCurvePublicKey:
    public = serialization.load_der_public_key(spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public


def _usage(**set_bits: bool) -> x509.KeyUsage:
    bits = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**bits, **set_bits})
