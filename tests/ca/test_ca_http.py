"""The repository over its public interface."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from asn1crypto import crl, x509
from starlette.testclient import TestClient

from tests.ca.ca_kit import URLS
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.http import repository_app
from tsp.ca.plan import ISSUERS, CeremonyPlan
from tsp.ca.store import CaStore
from tsp.core.clock import SettableClock


@pytest.fixture
def client(artefacts: Path, clock: SettableClock) -> Iterator[TestClient]:
    with TestClient(repository_app(artefacts, clock)) as client:
        yield client


@pytest.mark.requirement("CA-4", "OCSP-2")
@pytest.mark.parametrize("name", ["root", *ISSUERS])
def test_issuer_certificates_are_free_to_fetch(client: TestClient, artefacts: Path, name: str) -> None:
    der = CaStore(artefacts).certificate(name)
    answer = client.get(f"/{name}.cer")
    assert (answer.status_code, answer.content) == (200, der)
    assert answer.headers["content-type"] == "application/pkix-cert"
    assert answer.headers["cache-control"] == "public, max-age=86400, no-transform"
    assert answer.headers["last-modified"] == "Mon, 23 Nov 2026 10:00:00 GMT"
    assert answer.headers["x-content-type-options"] == "nosniff"
    pem = client.get(f"/{name}.pem")
    assert pem.headers["content-type"] == "application/pem-certificate-chain"
    assert pem.content == (artefacts / f"{name}.pem").read_bytes()


@pytest.mark.requirement("CA-4")
def test_addresses_in_certificates_lead_here(client: TestClient, artefacts: Path) -> None:
    store = CaStore(artefacts)
    authority, unit = (x509.Certificate.load(store.certificate(name)) for name in ("qualified", "tsu"))
    crl_url = authority.crl_distribution_points[0].url
    above = [place["access_location"].native for place in unit.authority_information_access_value][1]
    assert crl_url == f"{URLS.repository}/root.crl"
    assert client.get(crl_url.removeprefix(URLS.repository)).content == store.root_crl
    assert client.get(above.removeprefix(URLS.repository)).content == store.infrastructure


@pytest.mark.parametrize(("name", "count"), [("root", 1), ("qualified", 2), ("infrastructure", 2)])
def test_certs_only_message_holds_the_chain(client: TestClient, tmp_path: Path, name: str, count: int) -> None:
    answer = client.get(f"/{name}.p7c")
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    (tmp_path / "chain.p7c").write_bytes(answer.content)
    shown = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-in", tmp_path / "chain.p7c", "-print_certs", "-noout"],
        check=True,
        capture_output=True,
    ).stdout.decode()
    assert shown.count("subject=") == count
    assert "TEST Root CA" in shown


@pytest.mark.requirement("OCSP-2")
def test_crl_is_never_kept_beyond_its_next_update(client: TestClient, clock: SettableClock) -> None:
    answer = client.get("/root.crl")
    assert answer.headers["content-type"] == "application/pkix-crl"
    assert answer.headers["last-modified"] == "Mon, 23 Nov 2026 10:00:00 GMT"
    assert answer.headers["expires"] == "Tue, 23 Nov 2027 10:00:00 GMT"
    assert answer.headers["cache-control"] == "public, max-age=3600, no-transform"
    clock.advance(days=365, seconds=-100)
    assert client.get("/root.crl").headers["cache-control"] == "public, max-age=99, no-transform"
    clock.advance(seconds=100)
    assert client.get("/root.crl").headers["cache-control"] == "no-cache"
    assert crl.CertificateList.load(answer.content).crl_number_value.native == 1


def test_what_is_known_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/root.crl")
    again = client.get("/root.crl", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert "content-length" not in again.headers
    assert client.get("/root.crl", headers={"if-none-match": '"other"'}).status_code == 200
    assert client.get("/root.crl", headers={"if-none-match": "*"}).status_code == 304


def test_head_is_get_without_a_body(client: TestClient) -> None:
    get, head = client.get("/qualified.cer"), client.head("/qualified.cer")
    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(get.headers)
    assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize(
    "path", ["/", "/tsu.cer", "/root", "/root.key", "/../ca/root.pem", "/transcript.json", "/root.CRL"]
)
def test_nothing_else_is_published(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_get_and_head_are_answered(client: TestClient, method: str) -> None:
    answer = client.request(method, "/root.cer")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_renewed_list_is_served_at_once(client: TestClient, artefacts: Path) -> None:
    before = client.get("/qualified.cer").content
    replacement = (artefacts / "infrastructure.pem").read_bytes()
    (artefacts / "qualified.pem").write_bytes(replacement)
    stamp = (artefacts / "qualified.pem").stat().st_mtime_ns + 1
    os.utime(artefacts / "qualified.pem", ns=(stamp, stamp))
    assert client.get("/qualified.cer").content != before
    assert client.get("/qualified.cer").content == client.get("/infrastructure.cer").content


def test_before_the_ceremony_it_says_so(room: CeremonyRoom, clock: SettableClock, plan: CeremonyPlan) -> None:
    with TestClient(repository_app(room.directory, clock)) as client:
        answer = client.get("/root.cer")
        assert (answer.status_code, answer.text) == (
            404,
            "There are no authorities yet. Run the key ceremony first.\n",
        )
        run_ceremony(plan, room)
        assert client.get("/root.cer").status_code == 200
        (room.directory / "root.crl").write_bytes(b"half")
        assert client.get("/root.cer").status_code == 503
