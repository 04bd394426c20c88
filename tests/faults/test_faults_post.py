"""Mail and SMS down for an hour: everything that still makes sense arrives by itself, nothing else, nothing twice."""

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select

from tests.conftest import TokenFactory
from tests.notify.test_notify_senders import Mailbox
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.core.sealing import Sealer
from tsp.notify.mail import MailSender, Relay
from tsp.notify.outbox import Outbox
from tsp.notify.runner import Runner, backlog
from tsp.notify.sms import SmsSender
from tsp.notify.tables import Message

HOUR = 3600


class Gateway(BaseHTTPRequestHandler):
    """Takes every text message."""

    texts: list[bytes]

    def do_POST(self) -> None:
        self.texts.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  (the standard library's name)
        pass


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Post:
    """A relay and a gateway on ports of their own, which may be closed."""

    def __init__(self) -> None:
        self.mail_port, self.sms_port = free_port(), free_port()
        self.mailbox = Mailbox()
        self.texts: list[bytes] = []
        self._controller: Controller | None = None
        self._server: HTTPServer | None = None

    def open(self) -> None:
        self._controller = Controller(self.mailbox, hostname="127.0.0.1", port=self.mail_port)
        self._controller.start()
        handler = type("OneGateway", (Gateway,), {"texts": self.texts})
        self._server = HTTPServer(("127.0.0.1", self.sms_port), handler)
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        if self._controller and self._server:
            self._controller.stop()
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.close()


@pytest.mark.requirement("NOT-1", "REG-6")
def test_after_an_hour_without_mail_and_sms_what_is_still_valid_arrives(
    database: Database, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness, post: Post
) -> None:
    sealer = Sealer(token_factory("identity").generate_aead_key("outbox"), randomness, "outbox")
    outbox = Outbox(sealer, randomness, clock)
    outbound = Outbound(internal=frozenset({f"127.0.0.1:{post.mail_port}", f"127.0.0.1:{post.sms_port}"}), timeout=5)
    mail = MailSender(Relay("127.0.0.1", post.mail_port, "Enkrat TEST <a@enkrat.test>", "plain"), outbound, clock)
    sms = SmsSender(f"http://127.0.0.1:{post.sms_port}/messages", "token", outbound)
    runner = Runner(database, sealer, clock, randomness, {"mail": mail, "sms": sms})
    begun = clock.now()

    def put(words: str, lives: int | None) -> None:
        ends = clock.now() + timedelta(seconds=lives) if lives else None
        with database.write() as session:
            outbox.mail(session, "ana@primer.si", words, words, purpose="test", expires_at=ends)
            outbox.sms(session, "+38641123456", words, purpose="test", expires_at=ends)

    tries = 0
    put("notice", None)
    put("dead code", 300)
    while clock.now() - begun < timedelta(seconds=HOUR):
        while runner.run_once():
            tries += 1
        clock.advance(seconds=5)
    assert tries <= 2 * 2 * 10  # pauses grow: a message is tried a few times in an hour
    with database.read() as session:
        assert backlog(session) == {"waiting": 2, "expired": 2}
        # Whatever waited out the hour is due again within a quarter of one.
        assert max(session.scalars(select(Message.due))) <= clock.now() + timedelta(minutes=15)
    put("fresh code", 300)
    post.open()
    while runner.run_once():
        pass
    clock.advance(minutes=15)
    while runner.run_once():
        pass
    assert sorted(message["Subject"] for message in post.mailbox.messages) == ["fresh code", "notice"]
    assert len(post.texts) == 2
    assert not [text for text in post.texts if b"dead" in text]
    with database.read() as session:
        assert backlog(session) == {"sent": 4, "expired": 2}
