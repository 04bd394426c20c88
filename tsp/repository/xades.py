"""An enveloped XAdES signature at level B-B over a whole XML document (EN 319 132-1; TS 119 612, 5.7 and Annex B).

Two references, both canonicalised exclusively: the document without its signature, and the signed properties.
"""

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from tsp.core.der import integer, seq, tlv

DS = "http://www.w3.org/2000/09/xmldsig#"
XADES = "http://uri.etsi.org/01903/v1.3.2#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
SIGNED_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"
#: RFC 9231, 2.3.6, by the curve's size in bits; a key's digest is as strong as the key.
_METHODS = {
    256: ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", "sha256"),
    384: ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384", "sha384"),
}


def sign_enveloped(
    root: etree._Element,
    certificate: bytes,
    sign_digest: Callable[[bytes], bytes],
    *,
    signing_time: datetime,
    media_type: str,
) -> bytes:
    """Appends `ds:Signature` to `root` and returns the document as octets (UTF-8, with declaration).

    `certificate` (DER) is the signer's, the only one in KeyInfo; `sign_digest` answers a digest with a DER
    Ecdsa-Sig-Value. ValueError for a key that is not on P-256 or P-384.
    """
    public = x509.load_der_x509_certificate(certificate).public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.key_size not in _METHODS:
        raise ValueError("a key on P-256 or P-384 is needed")
    method, hash_name = _METHODS[public.curve.key_size]
    digest = _digest(root)
    signature = etree.SubElement(root, f"{{{DS}}}Signature", Id="signature", nsmap={"ds": DS})
    info = _add(signature, DS, "SignedInfo")
    _add(info, DS, "CanonicalizationMethod", Algorithm=EXCLUSIVE)
    _add(info, DS, "SignatureMethod", Algorithm=method)
    _reference(info, digest, [ENVELOPED, EXCLUSIVE], URI="", Id="list")
    value = _add(signature, DS, "SignatureValue")
    key_data = _add(_add(signature, DS, "KeyInfo"), DS, "X509Data")
    _add(key_data, DS, "X509Certificate").text = base64.b64encode(certificate).decode()
    properties = _properties(signature, certificate, signing_time, media_type)
    _reference(info, _digest(properties), [EXCLUSIVE], URI="#signed-properties", Type=SIGNED_PROPERTIES)
    der = sign_digest(hashlib.new(hash_name, canonical(info)).digest())
    octets = (public.curve.key_size + 7) // 8
    raw = b"".join(part.to_bytes(octets, "big") for part in decode_dss_signature(der))
    value.text = base64.b64encode(raw).decode()
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def canonical(element: etree._Element) -> bytes:
    """The element in exclusive canonical form (RFC 3741), without comments."""
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=False, with_tail=False)


def _digest(element: etree._Element) -> bytes:
    return hashlib.sha256(canonical(element)).digest()


def _add(parent: etree._Element, namespace: str, name: str, **attributes: str) -> etree._Element:
    prefix = {DS: "ds", XADES: "xades"}[namespace]
    return etree.SubElement(parent, f"{{{namespace}}}{name}", attributes, nsmap={prefix: namespace})


def _reference(info: etree._Element, digest: bytes, transforms: list[str], **attributes: str) -> None:
    reference = _add(info, DS, "Reference", **attributes)
    listed = _add(reference, DS, "Transforms")
    for algorithm in transforms:
        _add(listed, DS, "Transform", Algorithm=algorithm)
    _add(reference, DS, "DigestMethod", Algorithm=SHA256)
    _add(reference, DS, "DigestValue").text = base64.b64encode(digest).decode()


def _properties(signature: etree._Element, certificate: bytes, time: datetime, media_type: str) -> etree._Element:
    """SigningTime, SigningCertificateV2 and DataObjectFormat (EN 319 132-1, 5.2.1, 5.2.2, 5.2.4)."""
    holder = _add(_add(signature, DS, "Object"), XADES, "QualifyingProperties", Target="#signature")
    properties = _add(holder, XADES, "SignedProperties", Id="signed-properties")
    of_signature = _add(properties, XADES, "SignedSignatureProperties")
    _add(of_signature, XADES, "SigningTime").text = time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    named = _add(_add(of_signature, XADES, "SigningCertificateV2"), XADES, "Cert")
    digest = _add(named, XADES, "CertDigest")
    _add(digest, DS, "DigestMethod", Algorithm=SHA256)
    _add(digest, DS, "DigestValue").text = base64.b64encode(hashlib.sha256(certificate).digest()).decode()
    _add(named, XADES, "IssuerSerialV2").text = base64.b64encode(_issuer_serial(certificate)).decode()
    of_object = _add(properties, XADES, "SignedDataObjectProperties")
    form = _add(of_object, XADES, "DataObjectFormat", ObjectReference="#list")
    _add(form, XADES, "MimeType").text = media_type
    return properties


def _issuer_serial(certificate: bytes) -> bytes:
    """IssuerSerial of RFC 5035: the issuer as one directoryName, and the serial number."""
    parsed = x509.load_der_x509_certificate(certificate)
    name = tlv(0xA4, parsed.issuer.public_bytes())
    return seq(seq(name), integer(parsed.serial_number))
