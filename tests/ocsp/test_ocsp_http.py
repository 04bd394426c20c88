"""Over HTTP, with other people's clients: OpenSSL, GnuTLS, pkilint."""

import base64
import hashlib
import re
import subprocess
import sys
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.ocsp.conftest import GOOD, NEVER, REVOKED, Responder, ask
from tests.small_pki import pem
from tsp.core.clock import SettableClock
from tsp.core.errors import Invalid
from tsp.ocsp.http import MAX_REQUEST, from_path

TYPE = {"content-type": "application/ocsp-request"}
LINT = Path(sys.executable).with_name("lint_ocsp_response")


@pytest.fixture
def client(responder: Responder) -> TestClient:
    return responder.client()


def forms(request: bytes) -> dict[str, str]:
    """The ways in which clients write a request into a path."""
    text = base64.b64encode(request).decode()
    return {
        "escaped": quote(text, safe=""),
        "raw": text,
        "slashes raw": quote(text, safe="/"),
        "padding gone": quote(text.rstrip("="), safe=""),
        "url-safe": text.replace("+", "-").replace("/", "_"),
        "double slash": "/" + quote(text, safe=""),
        "plus as space": quote(text.replace("+", " "), safe=""),
        "encoded twice": quote(quote(text, safe=""), safe=""),
        "in lines": quote(base64.encodebytes(request), safe=""),
        "slash behind": quote(text, safe="") + ("/" if text.endswith("=") else ""),
    }


@pytest.mark.requirement("OCSP-2")
@pytest.mark.parametrize("form", sorted(forms(b"")))
def test_get_takes_every_form_of_base64(responder: Responder, client: TestClient, form: str) -> None:
    for number in range(8):  # enough different requests for "+", "/" and every length of padding
        request = responder.query(GOOD, nonce=bytes(range(250 - number, 256)) + bytes([62, 63] * (number + 1)))
        reply = client.get("http://localhost:8404/" + forms(request)[form])
        assert ocsp.load_der_ocsp_response(reply.content).certificate_status is OCSPCertStatus.GOOD


@given(st.binary(max_size=400))
def test_every_request_comes_out_of_its_path(data: bytes) -> None:
    sequence = b"\x30" + data
    for written in forms(sequence).values():
        assert from_path(written.encode().lstrip(b"/")) == sequence


@given(st.binary(max_size=200))
def test_any_path_is_read_or_refused_by_name(path: bytes) -> None:
    try:
        assert isinstance(from_path(path), bytes)
    except Invalid as error:
        assert error.code == "ocsp-malformed"


@pytest.mark.parametrize("path", ["/%%%", "/not base64!", "/AAAA", "/MA==", "/" + "A" * 20000])
def test_get_answers_nonsense_as_malformed(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 200
    status = ocsp.load_der_ocsp_response(reply.content).response_status
    assert status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert reply.headers["cache-control"] == "no-cache, no-store"


@pytest.mark.parametrize("body", [b"", b"{}", b"\x30\x00", b"\x00" * MAX_REQUEST])
def test_post_answers_nonsense_as_malformed(client: TestClient, body: bytes) -> None:
    assert ask(client, body).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_below_the_protocol_plain_text_is_spoken(client: TestClient) -> None:
    assert client.post("/", content=b"\x00" * (MAX_REQUEST + 1), headers=TYPE).status_code == 413
    assert client.post("/", content=b"", headers={"content-type": "application/json"}).status_code == 415
    assert client.post("/elsewhere", content=b"", headers=TYPE).status_code == 404
    assert client.get("/").status_code == 404
    for method in ("PUT", "DELETE", "HEAD"):
        reply = client.request(method, "/")
        assert (reply.status_code, reply.headers["allow"]) == (405, "GET, POST")
        assert reply.headers["content-type"].startswith("text/plain")


@pytest.mark.requirement("OCSP-2")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("serial", [GOOD, REVOKED])
def test_answers_without_nonce_may_be_kept_for_a_while(
    responder: Responder, client: TestClient, clock: SettableClock, method: str, serial: int
) -> None:
    clock.advance(seconds=0.5)
    request = responder.query(serial)
    if method == "GET":
        reply = client.get("/" + quote(base64.b64encode(request), safe=""))
    else:
        reply = client.post("/", content=request, headers=TYPE)
    answer = ocsp.load_der_ocsp_response(reply.content)
    assert parsedate_to_datetime(reply.headers["last-modified"]) == answer.this_update_utc
    assert parsedate_to_datetime(reply.headers["expires"]) == answer.next_update_utc
    assert reply.headers["etag"] == f'"{hashlib.sha256(reply.content).hexdigest()}"'
    control = reply.headers["cache-control"]
    age = re.fullmatch(r"max-age=(\d+), public, no-transform, must-revalidate", control)
    assert age is not None
    assert answer.next_update_utc is not None
    assert answer.this_update_utc < clock.now() + timedelta(seconds=int(age[1])) < answer.next_update_utc


def test_answers_for_one_caller_are_not_kept(responder: Responder, client: TestClient) -> None:
    for request in (responder.query(GOOD, nonce=bytes(16)), responder.query(NEVER)):
        reply = client.post("/", content=request, headers=TYPE)
        assert reply.headers["cache-control"] == "no-cache, no-store"
        assert "etag" not in reply.headers


class Files:
    """A directory with what command line tools need."""

    def __init__(self, directory: Path, responder: Responder, serial: int) -> None:
        self.root, self.issuer = directory / "root.pem", directory / "issuer.pem"
        self.certificate, self.signer = directory / "certificate.pem", directory / "signer.pem"
        self.request, self.response = directory / "request.der", directory / "response.der"
        self.root.write_bytes(pem(responder.root.der))
        self.issuer.write_bytes(pem(responder.issuing.der))
        self.certificate.write_bytes(pem(responder.certificates[serial]))
        self.signer.write_bytes(pem(responder.delegations[0].certificate))


def run(*arguments: str | Path) -> str:
    done = subprocess.run([*map(str, arguments)], check=False, capture_output=True, text=True)
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


@pytest.mark.requirement("OCSP-1", "OCSP-2")
@pytest.mark.parametrize(("serial", "told"), [(GOOD, "good"), (REVOKED, "revoked"), (NEVER, "unknown")])
@pytest.mark.parametrize("options", [("-sha256",), ("-sha1", "-no_nonce")], ids=["nonce", "sha1"])
def test_openssl_asks_and_verifies(
    responder_now: Responder, tmp_path: Path, serial: int, told: str, options: tuple[str, ...]
) -> None:
    files = Files(tmp_path, responder_now, serial)
    about = (*options, "-issuer", files.issuer, "-cert", files.certificate)
    run("openssl", "ocsp", *about, "-reqout", files.request)
    reply = responder_now.client().post("/", content=files.request.read_bytes(), headers=TYPE)
    files.response.write_bytes(reply.content)
    trust = ("-respin", files.response, "-CAfile", files.root, "-verify_other", files.issuer)
    compared = run("openssl", "ocsp", "-reqin", files.request, *trust)
    assert "Response verify OK" in compared
    assert "WARNING" not in compared or "-no_nonce" in options
    shown = run("openssl", "ocsp", *dict.fromkeys((*about[:1], "-no_nonce", *about[1:])), *trust)
    assert "Response verify OK" in shown
    assert f"certificate.pem: {told}" in shown
    if told == "revoked":
        assert "Reason: keyCompromise" in shown


@pytest.mark.requirement("OCSP-1", "OCSP-2")
@pytest.mark.parametrize(("serial", "told"), [(GOOD, "good"), (REVOKED, "revoked")])
def test_gnutls_asks_and_verifies(responder_now: Responder, tmp_path: Path, serial: int, told: str) -> None:
    files = Files(tmp_path, responder_now, serial)
    about = ("--load-issuer", files.issuer, "--load-cert", files.certificate)
    run("ocsptool", "--generate-request", *about, "--outder", "--outfile", files.request)
    reply = responder_now.client().post("/", content=files.request.read_bytes(), headers=TYPE)
    files.response.write_bytes(reply.content)
    verified = run("ocsptool", "--verify-response", "--load-response", files.response, "--load-signer", files.signer)
    assert "Success" in verified
    shown = run("ocsptool", "--response-info", "--inder", "--infile", files.response)
    assert f"Certificate Status: {told}" in shown


@pytest.mark.requirement("OCSP-1")
@pytest.mark.parametrize("serial", [GOOD, REVOKED, NEVER])
@pytest.mark.parametrize("nonce", [None, bytes(32)])
def test_pkilint_finds_nothing(responder: Responder, tmp_path: Path, serial: int, nonce: bytes | None) -> None:
    reply = responder.client().post("/", content=responder.query(serial, nonce=nonce), headers=TYPE)
    (tmp_path / "response.der").write_bytes(reply.content)
    found = run(LINT, "lint", "-s", "NOTICE", "--document-format", "DER", tmp_path / "response.der")
    assert found.strip() == "exit 0"
