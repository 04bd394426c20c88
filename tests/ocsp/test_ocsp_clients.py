"""curl and pyHanko as clients of the responder (docs/clients.md); OpenSSL and GnuTLS are in `test_ocsp_http.py`."""

import asyncio
import base64
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus
from cryptography.x509.oid import AuthorityInformationAccessOID
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import InsufficientRevinfoError, RevokedError

from tests.ocsp.conftest import GOOD, NEVER, REVOKED, Responder
from tests.small_pki import der, name
from tests.web.live import listener, serving


def curl(*arguments: str | Path) -> str:
    done = subprocess.run(["curl", "-sS", "--noproxy", "*", *map(str, arguments)], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.requirement("OCSP-1", "OCSP-2")
def test_curl_asks_by_get(responder: Responder, tmp_path: Path) -> None:
    """As a cache does: the path, the tag of what it has, the headers that say how long that is good."""
    bound, origin = listener()
    bound.listen()
    bodies = [tmp_path / name for name in ("first.der", "second.der")]
    tag, shown = tmp_path / "tag", "%{http_code} %{content_type} %{size_download}"
    app = responder.client(reuse_seconds=60).app
    with serving(app, bound):
        path = quote(base64.b64encode(responder.query(GOOD)), safe="")
        told = curl(f"{origin}/{path}", "-o", bodies[0], "-D", tmp_path / "headers", "--etag-save", tag, "-w", shown)
        assert told == f"200 application/ocsp-response {bodies[0].stat().st_size}"
        headers = (tmp_path / "headers").read_text().lower()
        for name in ("date:", "last-modified:", "expires:", "etag:", "cache-control: max-age="):
            assert f"\n{name}" in headers
        told = curl(f"{origin}/{path}", "-o", bodies[1], "--etag-compare", tag, "-w", shown)
        assert told.startswith("304 ")
        assert not bodies[1].exists() or bodies[1].stat().st_size == 0
        told = curl(f"{origin}/{path}", "-o", bodies[1], "-H", 'If-None-Match: "other"', "-w", shown)
        assert told.startswith("200 ")
    answer = ocsp.load_der_ocsp_response(bodies[0].read_bytes())
    assert answer.certificate_status is OCSPCertStatus.GOOD
    assert bodies[1].read_bytes() == bodies[0].read_bytes()


@pytest.mark.requirement("OCSP-1", "OCSP-2", "CA-4")
@pytest.mark.parametrize(
    ("serial", "error"), [(GOOD, None), (REVOKED, RevokedError), (NEVER, InsufficientRevinfoError)]
)
def test_certvalidator_judges_by_the_answer(
    responder_now: Responder, serial: int, error: type[Exception] | None
) -> None:
    # The same serial number, in a certificate that says where to ask: certvalidator looks at nothing else.
    issuing = responder_now.issuing
    where = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://x.si/"))
    access = x509.AuthorityInformationAccess([where])
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    certificate = asn1_x509.Certificate.load(der(issuing.sign(name("TEST"), key, [(access, False)], serial=serial)))
    asked = responder_now.query(serial)
    reply = responder_now.client().post("/", content=asked, headers={"content-type": "application/ocsp-request"})
    # The status of the authority itself is no matter here: it stands as the trusted one.
    context = ValidationContext(
        trust_roots=[asn1_x509.Certificate.load(responder_now.issuing.der)],
        ocsps=[asn1_ocsp.OCSPResponse.load(reply.content)],
        revocation_mode="require",
        allow_fetching=False,
        moment=responder_now.clock.now(),
    )
    validator = CertificateValidator(certificate, validation_context=context)
    if error is None:
        path = asyncio.run(validator.async_validate_usage(set()))
        assert path.leaf.dump() == certificate.dump()
    else:
        with pytest.raises(error):
            asyncio.run(validator.async_validate_usage(set()))
