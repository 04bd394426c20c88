"""The two ways out: an SMTP relay in plain, with STARTTLS and with TLS, and an HTTP gateway."""

import email
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tsp.core.clock import SettableClock
from tsp.core.outbound import Outbound
from tsp.notify.mail import MailSender, Relay
from tsp.notify.sending import Letter, SendFailed
from tsp.notify.sms import SmsSender

LETTER = Letter("id-1", "žiga@primer.si", "Koda: 123456\nLep pozdrav, čšž", "Potrditvena koda – Enkrat")
ASCII_LETTER = Letter("id-2", "ana@primer.si", "Koda: 123456", "Potrditvena koda")


class Mailbox:
    """Keeps what arrives; refuses what it is told to."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.refusal: str | None = None

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: Any, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        self.messages.append(email.message_from_bytes(content, policy=default))
        self.recipients += envelope.rcpt_tos
        return "250 OK"


def _certificate(directory: Path, clock: SettableClock) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        # Real time: OpenSSL reads the machine's clock.
        .not_valid_before(clock.now() - timedelta(days=3650))
        .not_valid_after(clock.now() + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = directory / "cert.pem", directory / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, private


class Post:
    """A running relay and the way to it."""

    def __init__(self, mailbox: Mailbox, controller: Controller, clock: SettableClock, cert: Path) -> None:
        self.mailbox, self.controller, self.clock = mailbox, controller, clock
        self.port = controller.port
        self.outbound = Outbound(internal=frozenset({f"localhost:{self.port}"}), timeout=5)
        self.trusting = ssl.create_default_context(cafile=str(cert))

    def sender(
        self,
        security: Literal["plain", "starttls", "tls"] = "plain",
        *,
        tls: ssl.SSLContext | None = None,
        username: str = "",
    ) -> MailSender:
        relay = Relay(
            "localhost",
            self.port,
            "Enkrat TEST <obvestila@enkrat.test>",
            security,
            username=username,
            password="relay-secret",
        )
        return MailSender(relay, self.outbound, self.clock, tls or self.trusting)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def posts(tmp_path: Path, clock: SettableClock) -> Iterator[Any]:
    started: list[Controller] = []
    cert, key = _certificate(tmp_path, clock)

    def start(security: str = "plain") -> Post:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        options: dict[str, Any] = {"decode_data": False, "enable_SMTPUTF8": True}
        if security == "starttls":
            options |= {"tls_context": context, "require_starttls": True, "authenticator": _authenticate}
        if security == "tls":
            options |= {"ssl_context": context}
        mailbox = Mailbox()
        controller = Controller(mailbox, hostname="localhost", port=_free_port(), **options)
        controller.start()
        started.append(controller)
        return Post(mailbox, controller, clock, cert)

    yield start
    for controller in started:
        controller.stop()


def _authenticate(server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=data == LoginPassword(b"enkrat", b"relay-secret"), handled=False)


def test_a_letter_arrives_as_written(posts: Any) -> None:
    post = posts()
    post.sender().send(LETTER)
    (message,) = post.mailbox.messages
    assert message["Subject"] == LETTER.subject
    assert message["From"] == "Enkrat TEST <obvestila@enkrat.test>"
    assert message["To"] == LETTER.to
    assert message["Message-ID"] == "<id-1@enkrat.test>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] == "Mon, 23 Nov 2026 10:00:00 +0000"
    assert _text(message) == LETTER.text
    assert post.mailbox.recipients == [LETTER.to]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_secured_relay_is_checked_by_its_certificate(posts: Any, security: Literal["starttls", "tls"]) -> None:
    post = posts(security)
    post.sender(security).send(ASCII_LETTER)
    assert len(post.mailbox.messages) == 1
    with pytest.raises(SendFailed) as failure:
        post.sender(security, tls=ssl.create_default_context()).send(ASCII_LETTER)
    assert not failure.value.permanent
    assert len(post.mailbox.messages) == 1


def test_nothing_goes_in_clear_when_the_relay_offers_no_starttls(posts: Any) -> None:
    post = posts("plain")
    with pytest.raises(SendFailed):
        post.sender("starttls").send(ASCII_LETTER)
    assert not post.mailbox.messages


def test_the_relay_may_ask_who_we_are(posts: Any) -> None:
    post = posts("starttls")
    post.sender("starttls", username="enkrat").send(ASCII_LETTER)
    assert len(post.mailbox.messages) == 1
    with pytest.raises(SendFailed) as failure:
        post.sender("starttls", username="somebody").send(ASCII_LETTER)
    assert not failure.value.permanent


@pytest.mark.parametrize(("answer", "permanent"), [("550 unknown", True), ("451 later", False)])
def test_the_relays_answer_decides_whether_to_try_again(posts: Any, answer: str, permanent: bool) -> None:
    post = posts()
    post.mailbox.refusal = answer
    with pytest.raises(SendFailed) as failure:
        post.sender().send(ASCII_LETTER)
    assert failure.value.permanent is permanent
    assert failure.value.cause == f"smtp-recipient-{answer[:3]}"


def test_a_relay_that_is_away_is_tried_again(clock: SettableClock) -> None:
    outbound = Outbound(internal=frozenset({"localhost:1"}), timeout=2)
    sender = MailSender(Relay("localhost", 1, "x <x@enkrat.test>", "plain"), outbound, clock)
    with pytest.raises(SendFailed) as failure:
        sender.send(ASCII_LETTER)
    assert (failure.value.cause, failure.value.permanent) == ("peer-unavailable", False)


def test_a_line_break_in_an_address_or_subject_is_refused(posts: Any) -> None:
    post = posts()
    for letter in (
        Letter("x", "ana@primer.si\r\nBcc: eva@primer.si", "text", "subject"),
        Letter("x", "ana@primer.si", "text", "subject\r\nBcc: eva@primer.si"),
    ):
        with pytest.raises(SendFailed) as failure:
            post.sender().send(letter)
        assert failure.value.permanent
    assert not post.mailbox.messages


@given(
    subject=st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=120).map(str.strip),
    text=st.text(st.characters(categories=("L", "N", "P", "Zs"), include_characters="\n"), max_size=400),
)
def test_every_text_survives_the_wire_format(subject: str, text: str) -> None:
    written = _SENDER._message(Letter("i", "ana@primer.si", text, subject)).as_bytes()
    read = email.message_from_bytes(written, policy=default)
    assert _text(read) == text.rstrip("\n")
    assert " ".join(str(read["Subject"]).split()) == " ".join(subject.split())


def _text(message: EmailMessage) -> str:
    return str(message.get_content()).replace("\r\n", "\n").rstrip("\n")


_SENDER = MailSender(
    Relay("localhost", 1, "E <e@enkrat.test>"), Outbound(), SettableClock(datetime(2026, 11, 23, tzinfo=UTC))
)


class Gateway:
    """An SMS gateway that answers with the statuses it is told."""

    def __init__(self) -> None:
        self.status = 202
        self.requests: list[tuple[str, dict[str, str]]] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                gateway.requests.append((self.headers["Authorization"], json.loads(body)))
                self.send_response(gateway.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def sender(self) -> SmsSender:
        outbound = Outbound(internal=frozenset({f"127.0.0.1:{self.port}"}), timeout=5)
        return SmsSender(f"http://127.0.0.1:{self.port}/messages", "gateway-token", outbound)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.stop()


def test_the_gateway_gets_number_text_and_id_with_our_token(gateway: Gateway) -> None:
    gateway.sender().send(Letter("id-7", "+38641123456", "Vaše enkratno geslo je 123456"))
    assert gateway.requests == [
        (
            "Bearer gateway-token",
            {"to": "+38641123456", "text": "Vaše enkratno geslo je 123456", "id": "id-7"},
        )
    ]


@pytest.mark.parametrize(
    ("status", "permanent"), [(400, True), (401, False), (403, False), (404, True), (429, False), (500, False)]
)
def test_the_gateways_answer_decides_whether_to_try_again(gateway: Gateway, status: int, permanent: bool) -> None:
    gateway.status = status
    with pytest.raises(SendFailed) as failure:
        gateway.sender().send(Letter("id-7", "+38641123456", "text"))
    assert failure.value.permanent is permanent


def test_a_gateway_at_an_address_that_is_not_listed_is_not_reached(gateway: Gateway) -> None:
    sender = SmsSender(f"http://127.0.0.1:{gateway.port}/messages", "t", Outbound())
    with pytest.raises(SendFailed) as failure:
        sender.send(Letter("id-7", "+38641123456", "text"))
    assert failure.value.cause == "address-refused"
    assert not gateway.requests
