"""The mailbox: real SMTP in, a people's page and JSON out."""

import asyncio
import email
import smtplib
import socket
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.mailbox import Mailbox, header, mailbox_app, readable_text, smtp_protocol
from sandbox.settings import Limits
from tests.sandbox.conftest import ClientFor
from tsp.core.clock import SettableClock


def _mail(to: str = "špela@posta.example", subject: str = "Potrditvena koda – čšž") -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Enkrat TEST <obvestila@enkrat.test>"
    message["To"] = to
    message["Subject"] = subject
    message.set_content("Vaša koda je 123456.\n\nLep pozdrav\n")
    return message


async def _send(mailbox: Mailbox, *messages: EmailMessage) -> None:
    """Delivers over a real connection, as any SMTP client would."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(lambda: smtp_protocol(mailbox), sock=listener)

    def deliver() -> None:
        with smtplib.SMTP("127.0.0.1", listener.getsockname()[1], local_hostname="localhost", timeout=10) as smtp:
            for message in messages:
                smtp.send_message(message)

    async with server:
        await asyncio.to_thread(deliver)


def test_mail_with_slovene_letters_is_readable(clock: SettableClock, limits: Limits, client_for: ClientFor) -> None:
    mailbox = Mailbox(clock, limits)
    asyncio.run(_send(mailbox, _mail(), _mail("other@posta.example", "Drugo")))
    client = client_for(mailbox_app(mailbox))
    [message] = client.get("/api/messages", params={"to": "ŠPELA@posta.example"}).json()
    assert message == {
        "id": 1,
        "to": "špela@posta.example",
        "from": "Enkrat TEST <obvestila@enkrat.test>",
        "subject": "Potrditvena koda – čšž",
        "text": "Vaša koda je 123456.\n\nLep pozdrav",
        "received": "2026-11-23T10:00:00Z",
        "reference": "",
    }
    page = client.get("/").text
    assert page.index("Drugo") < page.index("Potrditvena koda – čšž")
    assert "Vaša koda je 123456." in page
    only = client.get("/", params={"to": "other@posta.example"}).text
    assert "123456" in only
    assert "Potrditvena koda" not in only


def test_every_recipient_gets_a_copy(clock: SettableClock, limits: Limits) -> None:
    mailbox = Mailbox(clock, limits)
    asyncio.run(_send(mailbox, _mail("a@posta.example, b@posta.example", "Obema")))
    assert [m.to for m in mailbox.store.find()] == ["b@posta.example", "a@posta.example"]


def test_html_in_a_mail_is_shown_as_text_and_never_run(
    clock: SettableClock, limits: Limits, client_for: ClientFor
) -> None:
    mailbox = Mailbox(clock, limits)
    mailbox.deliver(["a@x"], b"Subject: <b>x</b>\r\n\r\n<script>alert(1)</script>")
    page = client_for(mailbox_app(mailbox)).get("/").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_while_down_mail_is_put_off_and_later_taken(clock: SettableClock, limits: Limits) -> None:
    mailbox = Mailbox(clock, limits)
    mailbox.outage.begin(60)
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        asyncio.run(_send(mailbox, _mail("a@posta.example", "x")))
    assert refused.value.smtp_code == 451
    assert mailbox.outage.refused == 1
    clock.advance(seconds=60)
    asyncio.run(_send(mailbox, _mail("a@posta.example", "x")))
    assert len(mailbox.store.find()) == 1


def test_mail_over_the_limit_is_refused(clock: SettableClock) -> None:
    mailbox = Mailbox(clock, Limits(mail_bytes=1024))
    message = _mail("a@posta.example", "x")
    message.set_content("x" * 2000)
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        asyncio.run(_send(mailbox, message))
    assert refused.value.smtp_code == 552


@pytest.mark.parametrize("query", ["after=-1", "after=x", "wait=1000", "wait=nan"])
def test_wrong_parameters_are_told(clock: SettableClock, limits: Limits, client_for: ClientFor, query: str) -> None:
    answer = client_for(mailbox_app(Mailbox(clock, limits))).get(f"/api/messages?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "parameter-invalid")


def test_html_mail_becomes_words() -> None:
    mail = email.message_from_bytes("Content-Type: text/html\n\n<p>Vaša <b>koda</b></p><!-- -->".encode())
    assert readable_text(mail) == "Vaša koda"
    assert readable_text(email.message_from_string("Content-Type: text/html\n\n<!-- -->")) == ""


@given(st.binary(max_size=2000))
def test_no_octets_break_the_reader(content: bytes) -> None:
    mail = email.message_from_bytes(b"Content-Type: text/html; charset=utf-9\r\n" + content)
    assert isinstance(readable_text(mail), str)
    assert isinstance(header(mail, "Subject"), str)


@given(st.text(max_size=200), st.sampled_from(["utf-8", "iso-8859-2", "x-unknown", "utf-7"]))
def test_no_header_breaks_the_reader(text: str, charset: str) -> None:
    for value in (f"=?{charset}?B?{text}?=", f"=?{charset}?Q?{text}?=", text):
        mail = email.message_from_bytes(f"Subject: {value}\n\n".encode("utf-8", "replace"))
        assert isinstance(header(mail, "Subject"), str)
