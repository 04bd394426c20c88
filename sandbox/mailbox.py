"""The mailbox: takes every mail over SMTP (RFC 5321) and shows it to people and to programs.

HTTP: `/` for people, `GET /api/messages?to=<address>&after=<id>&wait=<seconds>` (newest first),
`POST /api/down {"seconds": n}` makes SMTP answer 451 for a while.
"""

import email
import email.errors
import email.header
from email.message import Message as Mail

import lxml.etree
import lxml.html
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.clock import Clock
from sandbox.messages import MessageStore, answer_messages
from sandbox.outage import Outage
from sandbox.settings import Limits
from sandbox.web import application, render

_DOWN = "451 4.3.2 The mailbox is down; try again later"


class Mailbox:
    """All mail that has come in, whoever it is for."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self.limits = limits
        self.store = MessageStore(clock, _address_key, limits.messages)
        self.outage = Outage(clock)

    def deliver(self, recipients: list[str], content: bytes) -> None:
        """Keeps one copy for each recipient of the envelope."""
        mail = email.message_from_bytes(content)
        subject, sender, text = header(mail, "Subject"), header(mail, "From"), readable_text(mail)
        for recipient in recipients:
            self.store.add(recipient, text, subject=subject, sender=sender)


class _Handler:
    """aiosmtpd's hooks: it calls them by these names, so the verbs stay in capitals."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._mailbox.outage.turns_away():
            return _DOWN
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self._mailbox.outage.turns_away():
            return _DOWN
        content = envelope.original_content or b""
        self._mailbox.deliver(list(envelope.rcpt_tos), content)
        return "250 2.0.0 Kept"


def smtp_protocol(mailbox: Mailbox) -> SMTP:
    """A fresh SMTP protocol for one connection; the factory of `loop.create_server`."""
    return SMTP(
        _Handler(mailbox),
        hostname="localhost",
        ident="Sandbox mailbox",
        data_size_limit=mailbox.limits.mail_bytes,
        enable_SMTPUTF8=True,
    )


def mailbox_app(mailbox: Mailbox) -> Starlette:
    """The mailbox's pages and JSON."""

    async def messages(request: Request) -> Response:
        return await answer_messages(request, mailbox.store, mailbox.limits.wait_seconds)

    async def page(request: Request) -> Response:
        to = request.query_params.get("to", "")
        context = {
            "to": to,
            "messages": mailbox.store.find(to),
            "addresses": list(mailbox.store.conversations()),
            "down": mailbox.outage.active,
        }
        return render(request, "mailbox.html", context)

    return application([Route("/", page), Route("/api/messages", messages), mailbox.outage.route()])


def header(mail: Mail, name: str) -> str:
    """A header's words as one line of text: encoded words (RFC 2047) or plain UTF-8 (RFC 6532).

    What cannot be decoded stays as it came.
    """
    values = [str(value) for known, value in mail.raw_items() if known.lower() == name.lower()]
    octets = "".join(values[:1]).encode("utf-8", "surrogateescape")
    raw = " ".join(octets.decode("utf-8", "replace").split())
    if not raw.isascii():
        return raw
    try:
        return str(email.header.make_header(email.header.decode_header(raw)))
    except (email.errors.HeaderParseError, LookupError, ValueError):
        return raw


def readable_text(mail: Mail) -> str:
    """The text that a person would read: the first plain part, else the words of the first HTML part."""
    for wanted in ("text/plain", "text/html"):
        for part in mail.walk():
            if part.get_content_type() == wanted and not part.is_multipart():
                text = _part_text(part)
                return text if wanted == "text/plain" else _words(text)
    return ""


def _part_text(part: Mail) -> str:
    payload = part.get_payload(decode=True)
    octets = payload if isinstance(payload, bytes) else b""
    try:
        text = octets.decode(part.get_content_charset("utf-8"), errors="replace")
    except (LookupError, ValueError):
        text = octets.decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n").strip()


def _words(html: str) -> str:
    try:
        tree = lxml.html.document_fromstring(html.encode(), parser=lxml.html.HTMLParser(encoding="utf-8"))
    except lxml.etree.ParserError:  # nothing but blanks or comments
        return ""
    text = str(tree.xpath("string()"))
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def _address_key(address: str) -> str:
    return address.strip().lower()
