"""The one way out: listed addresses only, bounded in size and time."""

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from tsp.core.errors import Invalid, Refused, Unavailable
from tsp.core.outbound import Outbound


class _Peer(http.server.BaseHTTPRequestHandler):
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            return
        body = b"x" * (2000 if self.path == "/large" else 10)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        pass


@pytest.fixture
def peer() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Peer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _Peer.seen.clear()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_listed_address_answers(peer: int) -> None:
    door = Outbound(internal=frozenset({f"localhost:{peer}"}))
    assert door.request("GET", f"http://localhost:{peer}/a?b=c").body == b"x" * 10
    assert _Peer.seen == ["/a?b=c"]


def test_unlisted_private_address_is_refused_before_anything_is_sent(peer: int) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        with pytest.raises(Refused, match="address-refused"):
            Outbound().request("GET", f"http://{host}:{peer}/")
    assert _Peer.seen == []


def test_redirects_are_not_followed(peer: int) -> None:
    door = Outbound(internal=frozenset({f"localhost:{peer}"}))
    assert door.request("GET", f"http://localhost:{peer}/moved").status == 302
    assert _Peer.seen == ["/moved"]


def test_answers_over_the_limit_are_refused(peer: int) -> None:
    door = Outbound(internal=frozenset({f"localhost:{peer}"}), max_bytes=1000)
    with pytest.raises(Unavailable, match="peer-unavailable"):
        door.request("GET", f"http://localhost:{peer}/large")


def test_nobody_there_is_unavailable() -> None:
    door = Outbound(internal=frozenset({"localhost:1"}))
    with pytest.raises(Unavailable, match="peer-unavailable"):
        door.request("GET", "http://localhost:1/")


@pytest.mark.parametrize("url", ["ftp://localhost/", "http://", "http://u:p@localhost/", "file:///etc/passwd"])
def test_other_addresses_are_invalid(url: str) -> None:
    with pytest.raises(Invalid, match="url-invalid"):
        Outbound().request("GET", url)


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        yield peer


def test_one_datagram_goes_and_one_comes_back_from_whom_was_asked(echo: socket.socket) -> None:
    port = echo.getsockname()[1]
    door = Outbound(internal=frozenset({f"localhost:{port}"}))

    def answer() -> None:
        asked, back = echo.recvfrom(100)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"from a stranger", back)
        echo.sendto(asked[::-1], back)
        echo.sendto(b"x" * 11, echo.recvfrom(100)[1])

    thread = threading.Thread(target=answer)
    thread.start()
    assert door.datagram("localhost", port, b"abc", timeout=20, max_bytes=10) == b"cba"
    with pytest.raises(Unavailable, match="peer-unavailable"):
        door.datagram("localhost", port, b"abc", timeout=20, max_bytes=10)
    thread.join()


def test_datagrams_go_to_listed_addresses_only_and_are_not_waited_for_long(echo: socket.socket) -> None:
    port = echo.getsockname()[1]
    with pytest.raises(Refused, match="address-refused"):
        Outbound().datagram("localhost", port, b"abc", timeout=1, max_bytes=10)
    with pytest.raises(Unavailable, match="peer-unavailable"):
        Outbound(internal=frozenset({f"localhost:{port}"})).datagram("localhost", port, b"a", timeout=0.05, max_bytes=9)
