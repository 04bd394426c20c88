"""E-mail over an SMTP relay (RFC 5321), through the platform's one door for connections."""

import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any, Literal

from tsp.core.clock import Clock
from tsp.core.errors import TspError
from tsp.core.outbound import Outbound
from tsp.notify.sending import Letter, SendFailed


@dataclass(frozen=True)
class Relay:
    """The SMTP relay. `sender` is `Name <address>`; without `username` nobody logs in."""

    host: str
    port: int
    sender: str
    security: Literal["plain", "starttls", "tls"] = "starttls"
    username: str = ""
    password: str = field(default="", repr=False)
    timeout: float = 15.0


class MailSender:
    """Sends e-mail. `tls` is the context that the relay's certificate is checked with."""

    def __init__(self, relay: Relay, outbound: Outbound, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        self._relay = relay
        self._outbound = outbound
        self._clock = clock
        self._tls = tls or outbound.tls

    def send(self, letter: Letter) -> None:
        """Hands the letter to the relay.

        Raises `SendFailed`: permanent where the relay refuses for good (5xx) or the letter cannot
        be written down as e-mail.
        """
        try:
            message = self._message(letter)
        except ValueError:
            raise SendFailed("mail-malformed", permanent=True) from None
        try:
            with self._connected() as smtp:
                smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()))[0]
            raise SendFailed(f"smtp-recipient-{code}", permanent=500 <= code < 600) from None
        except smtplib.SMTPNotSupportedError:
            raise SendFailed("smtp-not-supported", permanent=True) from None
        except smtplib.SMTPResponseException as error:
            refused = isinstance(error, smtplib.SMTPDataError | smtplib.SMTPSenderRefused)
            raise SendFailed(f"smtp-{error.smtp_code}", permanent=refused and error.smtp_code >= 500) from None
        except (smtplib.SMTPException, OSError) as error:
            raise SendFailed(f"smtp-{type(error).__name__}", permanent=False) from None
        except TspError as error:
            raise SendFailed(error.code, permanent=False) from None

    def _message(self, letter: Letter) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        name, address = parseaddr(self._relay.sender)
        domain = address.rpartition("@")[2]
        message["From"] = f"{name} <{address}>" if name else address
        message["To"] = letter.to
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(self._clock.now())
        message["Message-ID"] = f"<{letter.id}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers
        message.set_content(letter.text)
        return message

    def _connected(self) -> smtplib.SMTP:
        relay = self._relay
        smtp = _Smtp(self._outbound, relay, self._tls if relay.security == "tls" else None)
        try:
            if relay.security == "starttls":
                smtp.starttls(context=self._tls)
            if relay.username:
                smtp.login(relay.username, relay.password)
        except BaseException:
            smtp.close()
            raise
        return smtp


class _Smtp(smtplib.SMTP):
    """smtplib over a connection that `Outbound` opened, with TLS from the first octet where asked."""

    def __init__(self, outbound: Outbound, relay: Relay, tls: ssl.SSLContext | None) -> None:
        self._outbound = outbound
        self._first_tls = tls
        # A fixed name for EHLO: smtplib would ask the resolver for ours.
        super().__init__(relay.host, relay.port, local_hostname="localhost", timeout=relay.timeout)

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:
        stream = self._outbound.connect(host, port, timeout=timeout)
        return stream if self._first_tls is None else self._first_tls.wrap_socket(stream, server_hostname=host)
