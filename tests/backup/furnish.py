"""Fills an installation that does not run: a document, entries of the log, an open approval. Started by `conftest.py`.

`hold` keeps a one-time key alive in the token until standard input ends.
"""

import sys
from datetime import timedelta

from tsp.audit.entries import Writer, record
from tsp.audit.installation import log_origin
from tsp.audit.sequencer import Sequencer
from tsp.ca.plan import ENTRIES
from tsp.core.sealing import Sealer
from tsp.core.settings import load_settings
from tsp.engine.tables import Approval
from tsp.runtime import Runtime
from tsp.sign.documents import FINAL, Documents
from tsp.sign.tables import SigningSession

DOCUMENT = "abcdefghijklmnopqrstuv"


def furnish(runtime: Runtime) -> None:
    now, database = runtime.clock.now(), runtime.database()
    with runtime.open_token("site") as token:
        sealer = Sealer(token.aead_key("documents"), runtime.randomness, "documents")
        Documents(runtime.settings.var / "documents", sealer).put(DOCUMENT, FINAL, b"%PDF- what was signed")
    with database.write() as session:
        writer = Writer("engine", runtime.randomness, runtime.clock)
        for number in range(5):
            record(session, writer=writer, kind="tested", payload={"number": number})
        session.add(
            SigningSession(
                id=DOCUMENT,
                owner="owner",
                state="finished",
                label_sealed=b"",
                size=1,
                page_sizes=[],
                findings=[],
                earlier_signatures=0,
                digest_shown="",
                created=now,
                changed=now,
                finished_at=now,
                erase_after=now + timedelta(days=30),
            )
        )
        session.add(
            Approval(
                jti="open",
                sad_sha256="0" * 64,
                kind="advanced",
                client="enkrat-sign",
                subject_ref="subject",
                session="session",
                expires_at=now,
                state="released",
                attempt=1,
                first_reserved_at=now,
            )
        )
    with runtime.open_token("log") as token:
        key = token.signing_key("log-checkpoint")
        origin = log_origin(runtime.settings)
        assert Sequencer(database, key, origin=origin, holder="log", clock=runtime.clock).step() == 5 + len(ENTRIES)
    database.close()


def hold(runtime: Runtime) -> None:
    with runtime.open_token("ca") as token, token.one_time_key():
        print("alive", len(token.private_keys()), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    {"furnish": furnish, "hold": hold}[sys.argv[1]](Runtime(load_settings()))
