"""One service for the benchmarks as a process: `python -m benchmarks.service_process tsa|ocsp|empty DIRECTORY PORT`.

`DIRECTORY` holds the tokens, the certificates and the database that `benchmarks.services` made.
"""

import sys
from pathlib import Path

from benchmarks.kit import open_token
from hsm import softhsm
from tsp.audit.entries import Writer
from tsp.core.asgi import Reply, Request, Service
from tsp.core.clock import SystemClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness
from tsp.ocsp.http import ocsp_app
from tsp.ocsp.responder import Delegation
from tsp.serving import App, listening_socket, serve
from tsp.tsa.http import tsa_app
from tsp.tsa.installation import log_batches

POLICY = "0.4.0.2023.1.1"
_CLOCK, _RANDOMNESS = SystemClock(), SystemRandomness()


def _tsa(place: Path, database: Database) -> App:
    return tsa_app(
        signer=open_token("services").signing_key("tsu"),
        certificate=(place / "tsu.der").read_bytes(),
        chain=[(place / "ca.der").read_bytes()],
        policy=POLICY,
        accuracy_ms=500,
        max_clock_jump_ms=500,
        database=database,
        clock=_CLOCK,
        randomness=_RANDOMNESS,
        on_batch=log_batches(Writer("tsa", _RANDOMNESS, _CLOCK)),
    )


def _ocsp(place: Path, database: Database) -> App:
    key = open_token("services").signing_key("ocsp")
    delegation = Delegation("qualified", (place / "ca.der").read_bytes(), (place / "ocsp.der").read_bytes(), key)
    return ocsp_app(delegations=[delegation], database=database, clock=_CLOCK, validity_seconds=3600, reuse_seconds=60)


def _empty(_place: Path, _database: Database) -> App:
    """The same server with nothing to do."""

    async def handle(request: Request) -> Reply:
        return Reply(200, b"application/ocsp-response", b"")

    return Service(handle, lambda: None)


def main(kind: str, place: Path, port: int) -> None:
    """Serves until SIGTERM."""
    softhsm.configure(place)
    database = Database(f"sqlite:///{place / 'services.db'}")
    app = {"tsa": _tsa, "ocsp": _ocsp, "empty": _empty}[kind](place, database)
    serve(app, kind, listening_socket("127.0.0.1", f"http://127.0.0.1:{port}"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
