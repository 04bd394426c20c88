"""All faces in one process over one database, each with the question that its callers ask most."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from lxml import html
from starlette.testclient import TestClient

import hsm
from tests.audit.audit_kit import Log
from tests.conftest import TokenFactory
from tests.idp.login_kit import World, make_world
from tests.sign.street import OCSP, TSA, Street, Town, Visitor, open_street
from tests.tsa.conftest import TimeStampResp, query
from tsp.audit.http import log_app
from tsp.ca.store import CaStore
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.isolated import Isolated
from tsp.core.randomness import Randomness
from tsp.web import Pages

LOG = "http://localhost:8406"


@dataclass
class Faces:
    """The faces and a person who is known at each of them."""

    street: Street
    ana: Visitor
    world: World
    log: Log
    log_client: TestClient
    store: CaStore

    def answers(self) -> dict[str, str]:
        """What each face answers: HTTP status and code, or the protocol's own word."""
        return {
            "sign": self.sign(),
            "idp": self.idp(),
            "idp page": self.idp_page(self.world.portal.begin().url) if self.idp() == "201" else "",
            "tsa": self.tsa(),
            "ocsp": self.ocsp(),
            "log": self._json(self.log_client, "/checkpoint"),
            "log page": page_code(self.log_client.get("/")),
        }

    def sign(self) -> str:
        return page_code(self.ana.get("/signatures"))

    def idp(self) -> str:
        """A relying party pushes a request: RFC 9126 in the words of RFC 6749."""
        response, _ = self.world.portal.pushed()
        told = response.json()
        return f"{response.status_code} {told['error']}" if "error" in told else str(response.status_code)

    def idp_page(self, url: str) -> str:
        return page_code(self.world.http.get(url))

    def tsa(self) -> str:
        reply = self.street.door.houses[TSA].post(
            "/", content=query(hashlib.sha256(b"x").digest()), headers={"content-type": "application/timestamp-query"}
        )
        assert reply.status_code == 200
        status = TimeStampResp.load(reply.content)["status"]
        failures = status["fail_info"].native
        return str(status["status"].native) if not failures else " ".join(sorted(failures))

    def ocsp(self) -> str:
        issuer, certificate = (x509.load_der_x509_certificate(c) for c in (self.store.infrastructure, self.store.tsu))
        asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
        reply = self.street.door.houses[OCSP].post(
            "/", content=asked.public_bytes(Encoding.DER), headers={"content-type": "application/ocsp-request"}
        )
        assert reply.status_code == 200
        return str(ocsp.load_der_ocsp_response(reply.content).response_status.name)

    @staticmethod
    def _json(client: TestClient, path: str) -> str:
        reply = client.get(path)
        return str(reply.status_code) if reply.status_code == 200 else f"{reply.status_code} {reply.json()['error']}"


def page_code(reply: object) -> str:
    """The status of a page, with the code and a sentence where it is an error's."""
    status, text = reply.status_code, reply.text  # type: ignore[attr-defined]  # every client's answer has both
    [*alerts] = html.fromstring(text).xpath("//*[@data-code-of-error]") if text else []
    for alert in alerts:
        assert alert.text_content().strip().endswith((".", "!"))
        return f"{status} {alert.get('data-code-of-error')}"
    return str(status)


def open_faces(
    stack: ExitStack,
    town: Town,
    *,
    directory: Path,
    database: Database,
    clock: SettableClock,
    isolated: Isolated,
    token_factory: TokenFactory,
    randomness: Randomness,
) -> Faces:
    """Builds them; `stack` closes them."""
    street = open_street(stack, town, directory=directory, database=database, clock=clock, isolated=isolated)
    world = make_world(directory / "idp", database, token_factory("identity"), clock, randomness)
    log = Log(database, clock, randomness)
    log.fill(1)
    pages = Pages(name="Enkrat", face="log", origin=LOG, support="podpora@enkrat.test", randomness=randomness)
    client = stack.enter_context(TestClient(log_app(pages, database, log.key), base_url=LOG))
    ana = street.browser()
    ana.log_in()
    return Faces(street, ana, world, log, client, CaStore(town.ca))


def stored_token(store: Path, token: hsm.Token) -> Path:
    """The directory in which SoftHSM keeps this token."""
    serial = token.serial
    (found,) = store.rglob(f"*-{serial[:4]}-{serial[4:]}")
    return found


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    """A file or directory that is not there for a while, as on a disk that is not mounted."""
    hidden = path.parents[1] / f"{path.name}.away"
    path.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(path)
