"""The one door through which the platform opens connections.

The host name is resolved once, every address is checked, and the connection goes to the address
that was checked (no second resolution that could answer otherwise). Private, loopback and
link-local addresses are refused unless their origin is listed. No redirects, no proxies from the
environment, and limits on time and size.
"""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tsp.core.errors import Invalid, Refused, Unavailable


@dataclass(frozen=True)
class OutboundResponse:
    """What came back: status, header names in lower case, the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Outbound:
    """The door. `internal` lists `host:port` pairs that may lie in private address space."""

    internal: frozenset[str] = frozenset()
    timeout: float = 10.0
    max_bytes: int = 8 * 1024 * 1024
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout: float | None = None,
        max_bytes: int | None = None,
    ) -> OutboundResponse:
        """One HTTP exchange.

        Raises `Invalid` (url-invalid), `Refused` (address-refused) before anything is sent, and
        `Unavailable` (peer-unavailable) when the peer does not answer in time or within the limit.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise Invalid("url-invalid", "This address is not a web address.")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        stream = self.connect(parts.hostname, port, timeout=timeout)
        connection = http.client.HTTPConnection(parts.hostname, port)
        try:
            if parts.scheme == "https":
                stream = self.tls.wrap_socket(stream, server_hostname=parts.hostname)
            connection.sock = stream
            connection.request(method, target, body=content or None, headers={"Accept": "*/*", **(headers or {})})
            return _read(connection.getresponse(), max_bytes or self.max_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise _unavailable(parts.hostname, port, type(error).__name__) from error
        finally:
            connection.close()
            stream.close()

    def connect(self, host: str, port: int, *, timeout: float | None = None) -> socket.socket:
        """A TCP connection to the first allowed address that answers; for protocols other than HTTP."""
        reason = "no address"
        for family, address in self._resolve(host, port):
            stream = socket.socket(family, socket.SOCK_STREAM)
            stream.settimeout(timeout or self.timeout)
            try:
                stream.connect((address, port))
            except OSError as error:
                stream.close()
                reason = type(error).__name__
                continue
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return stream
        raise _unavailable(host, port, reason)

    def datagram(self, host: str, port: int, content: bytes, *, timeout: float, max_bytes: int) -> bytes:
        """One UDP datagram there and the first one back; where nobody listens the next allowed address is asked.

        The kernel lets nothing through but what comes from the address and port that was asked. Raises as
        `connect` does.
        """
        reason = "no address"
        for family, address in self._resolve(host, port):
            with socket.socket(family, socket.SOCK_DGRAM) as exchange:
                exchange.settimeout(timeout)
                try:
                    exchange.connect((address, port))
                    exchange.send(content)
                    answer = exchange.recv(max_bytes + 1)
                except OSError as error:
                    reason = type(error).__name__
                    if isinstance(error, TimeoutError):
                        break
                    continue
            if len(answer) <= max_bytes:
                return answer
            reason = "answer over the limit"
        raise _unavailable(host, port, reason)

    def _resolve(self, host: str, port: int) -> list[tuple[int, str]]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _unavailable(host, port, "name not found") from error
        addresses = [(int(family), str(where[0])) for family, _, _, _, where in found]
        if f"{host}:{port}" not in self.internal:
            for _, address in addresses:
                if not ipaddress.ip_address(address.split("%")[0]).is_global:
                    raise Refused("address-refused", "Connections to this address are not allowed.", port=port)
        return addresses


def _read(response: http.client.HTTPResponse, limit: int) -> OutboundResponse:
    body = response.read(limit + 1)
    if len(body) > limit:
        raise http.client.HTTPException("answer over the limit")
    return OutboundResponse(response.status, {k.lower(): v for k, v in response.getheaders()}, body)


def _unavailable(host: str, port: int, cause: str) -> Unavailable:
    return Unavailable(
        "peer-unavailable",
        "A service that is needed here does not answer. Nothing was lost; please try again in a moment.",
        host=host,
        port=port,
        cause=cause,
    )
