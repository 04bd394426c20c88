"""The engine on its socket: what others say to it, and what it bears."""

import json
import os
import shutil
import signal
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.engine.engine_kit import Provider, Room
from tsp.audit.overview import KeysAlive, keys_alive
from tsp.audit.tables import Entry
from tsp.core.errors import Conflict, Invalid, NotFound, Refused, TooMany, TspError, Unavailable
from tsp.core.randomness import SystemRandomness
from tsp.engine.protocol import (
    EngineClient,
    EngineStatus,
    SignatureResult,
    SignRequest,
    encode_error,
    encode_results,
    parse_result,
    parse_sign_request,
    receive_frame,
    send_frame,
)
from tsp.engine.server import STOP_SIGNALS, EngineServer, ServerLimits, serve_engine
from tsp.engine.tables import Approval, Evidence, Signature, SignatureIntent


@contextmanager
def served(engine: Any, path: Path, **options: Any) -> Iterator[EngineClient]:
    """The engine on the socket, in a thread of this process."""
    stop, ready = threading.Event(), threading.Event()
    server = EngineServer(engine, path, SystemRandomness(), **options)
    thread = threading.Thread(target=server.serve, args=(stop,), kwargs={"ready": ready.set})
    thread.start()
    assert ready.wait(20)
    try:
        yield EngineClient(path, timeout=20)
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "engine.sock"


@pytest.fixture
def client(room: Room, path: Path) -> Iterator[EngineClient]:
    with room.engine() as engine, served(engine, path) as made:
        yield made


def raw(path: Path, data: bytes, *, half: bool = False) -> bytes:
    """Sends octets and reads whatever comes until the engine closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(20)
        stream.connect(str(path))
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        received = b""
        while piece := stream.recv(65536):
            received += piece
        return received


def frame(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def answers(data: bytes) -> list[dict[str, Any]]:
    found = []
    while data:
        (size,) = struct.unpack(">I", data[:4])
        found.append(json.loads(data[4 : 4 + size]))
        data = data[4 + size :]
    return found


@pytest.mark.requirement("SIG-1", "EVD-1")
def test_a_signature_through_the_socket(room: Room, client: EngineClient, provider: Provider) -> None:
    request = provider.request("one", "two")
    results = client.sign(request)
    assert [result.digest for result in results] == list(request.digests)
    assert client.sign(request) == results
    status = client.status()
    assert (status.keys_alive, status.suspended, status.token_present) == (0, False, True)


@pytest.mark.requirement("EVD-5")
def test_the_number_of_keys_alive_is_kept_for_the_log(room: Room) -> None:
    with room.engine() as engine:
        assert engine.note_keys_alive() == 0
        with room.token.one_time_key():
            assert engine.note_keys_alive() == 1
            with room.database.read() as session:
                assert keys_alive(session, room.clock.now()) == KeysAlive(1, room.clock.now())
        assert engine.note_keys_alive() == 0
    with room.database.read() as session:
        assert keys_alive(session, room.clock.now()) == KeysAlive(0, room.clock.now())


def test_the_engines_errors_arrive_as_they_are(client: EngineClient, provider: Provider) -> None:
    with pytest.raises(Refused, match="approval-expired") as caught:
        client.sign(provider.request(exp=provider.now + 301))
    assert caught.value.sentence.startswith("The time for this approval")
    with pytest.raises(Invalid, match="approval-malformed"):
        client.sign(SignRequest("a.b.c", "", []))


def test_the_socket_is_the_owners_alone(client: EngineClient, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert client.status().keys_alive == 0


@pytest.mark.requirement("SEC-2")
def test_other_users_get_no_answer_but_a_refusal(room: Room, path: Path) -> None:
    strangers = frozenset({os.getuid() + 1})
    with room.engine() as engine, served(engine, path, users=strangers) as client, pytest.raises(Refused) as caught:
        client.status()
    assert caught.value.code == "peer-refused"


@pytest.mark.parametrize(
    ("sent", "codes"),
    [
        (frame(b"{"), ["frame-malformed"]),
        (frame(b"[]"), ["frame-malformed"]),
        (frame(b'"x"'), ["frame-malformed"]),
        (frame(b""), ["frame-malformed"]),
        (frame(b"\xff\xfe"), ["frame-malformed"]),
        (frame(b"[" * 200_000), ["frame-malformed"]),
        (frame(b"{}"), ["request-malformed"]),
        (frame(b'{"op":"destroy"}'), ["request-malformed"]),
        (frame(b'{"op":["sign"]}'), ["request-malformed"]),
        (frame(b'{"op":"sign"}'), ["request-malformed"]),
        (frame(b'{"op":"sign","approval":1,"proof":"","digests":[]}'), ["request-malformed"]),
        (frame(b'{"op":"sign","approval":"\\ud800","proof":"","digests":[]}'), ["request-malformed"]),
        (frame(b'{"op":"sign","approval":"","proof":"","digests":"x"}'), ["request-malformed"]),
        (frame(b'{"op":"sign","approval":"","proof":"","digests":[1]}'), ["request-malformed"]),
        (struct.pack(">I", 2**31) + b"x", ["frame-too-large"]),
        (b"\x00\x00", ["frame-cut-off"]),
        (struct.pack(">I", 10) + b"{", ["frame-cut-off"]),
        (b"", []),
        (frame(b"{") + frame(b"{}"), ["frame-malformed", "request-malformed"]),
    ],
)
def test_malformed_frames_get_an_error_and_break_nothing(
    client: EngineClient, path: Path, sent: bytes, codes: list[str]
) -> None:
    assert [answer["error"]["code"] for answer in answers(raw(path, sent))] == codes
    assert client.status().keys_alive == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80))
def test_any_octets_are_borne(client: EngineClient, path: Path, data: bytes) -> None:
    assert all("error" in answer for answer in answers(raw(path, data)))
    assert client.status().keys_alive == 0


def test_one_connection_carries_several_requests(client: EngineClient, path: Path) -> None:
    assert client
    assert [set(answer) for answer in answers(raw(path, frame(b'{"op":"status"}') * 3))] == [{"result"}] * 3


class SlowEngine:
    """An engine that is in the middle of something until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.swept = threading.Event()

    def status(self) -> EngineStatus:
        self.begun.set()
        assert self.go_on.wait(20)
        return EngineStatus(0, False, "engine-1", "ca", True, 1)

    def sign(self, request: SignRequest) -> list[SignatureResult]:
        raise ZeroDivisionError(request.approval)

    def sweep(self) -> int:
        self.swept.set()
        raise Unavailable("database-unavailable", "gone for a moment")


def test_more_connections_than_allowed_are_told_to_come_back(path: Path) -> None:
    engine = SlowEngine()
    with served(engine, path, limits=ServerLimits(connections=1)) as client:
        waiting = threading.Thread(target=client.status)
        waiting.start()
        assert engine.begun.wait(20)
        with pytest.raises(TooMany, match="engine-busy") as caught:
            client.status()
        assert caught.value.retry_after == 1
        engine.go_on.set()
        waiting.join(20)


def test_a_stop_waits_for_what_was_begun_and_hangs_up_on_the_idle(path: Path) -> None:
    engine = SlowEngine()
    stop, ready = threading.Event(), threading.Event()
    server = EngineServer(engine, path, SystemRandomness())  # type: ignore[arg-type]
    serving = threading.Thread(target=server.serve, args=(stop,), kwargs={"ready": ready.set})
    serving.start()
    assert ready.wait(20)
    found: list[EngineStatus] = []
    asking = threading.Thread(target=lambda: found.append(EngineClient(path).status()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as idle:
        idle.settimeout(20)
        idle.connect(str(path))
        asking.start()
        assert engine.begun.wait(20)
        stop.set()
        assert idle.recv(1) == b""
    engine.go_on.set()
    asking.join(20)
    serving.join(20)
    assert not serving.is_alive()
    assert found[0].worker == "engine-1"
    assert not path.exists()


def test_the_unexpected_gives_a_reference_and_nothing_else(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with served(SlowEngine(), path) as client, pytest.raises(Unavailable, match="unexpected") as caught:
        client.sign(SignRequest("secret-approval", "", []))
    reference = caught.value.facts["reference"]
    assert set(caught.value.facts) == {"reference"}
    assert f"unexpected error {reference}: ZeroDivisionError" in caplog.text
    assert "secret-approval" not in caplog.text


def test_the_sweep_runs_beside_and_survives_its_failures(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = SlowEngine()
    with served(engine, path):
        assert engine.swept.wait(20)
    assert "database-unavailable" in caplog.text


def test_a_silent_connection_is_closed(room: Room, path: Path) -> None:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with room.engine() as engine, served(engine, path, limits=ServerLimits(idle=0.05)), stream:
        stream.settimeout(20)
        stream.connect(str(path))
        assert stream.recv(1) == b""


def test_without_an_engine_the_client_says_unavailable(path: Path) -> None:
    with pytest.raises(Unavailable, match="engine-unavailable"):
        EngineClient(path).status()
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        with pytest.raises(Unavailable, match="engine-unavailable"):
            EngineClient(path).status()
        listener.listen(1)
        with pytest.raises(Unavailable, match="engine-unavailable"):
            EngineClient(path, timeout=0.05).status()


@pytest.mark.parametrize("answer", [b"", b"\x00\x00\x00\x02[]", b"\xff\xff\xff\xff", b"\x00\x00\x00\x09{"])
def test_an_answer_that_is_none_is_unavailable(path: Path, answer: bytes) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def reply() -> None:
            stream, _ = listener.accept()
            with stream:
                receive_frame(stream, 1000)
                stream.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(Unavailable, match="engine-unavailable"):
            EngineClient(path, timeout=20).status()
        thread.join(20)


def test_a_second_engine_does_not_take_the_socket(room: Room, client: EngineClient, path: Path) -> None:
    with room.engine() as second, pytest.raises(Conflict, match="engine-running"):
        EngineServer(second, path, room.randomness).serve(threading.Event())
    assert client.status().keys_alive == 0


def test_a_socket_may_lie_deeper_than_the_kernel_takes_in_one_name(room: Room, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60) / "engine.sock"
    with room.engine() as engine, served(engine, deep) as client:
        assert client.status().keys_alive == 0
        with room.engine() as second, pytest.raises(Conflict, match="engine-running"):
            EngineServer(second, deep, room.randomness).serve(threading.Event())
    assert not deep.exists()


def test_a_stale_socket_is_replaced(room: Room, path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    with room.engine() as engine, served(engine, path) as client:
        assert client.status().keys_alive == 0


@pytest.mark.requirement("OPS-2", "CSC-2")
def test_clients_go_round_and_pass_by_an_engine_that_is_gone(room: Room, path: Path, provider: Provider) -> None:
    second = path.with_name("engine.2.sock")
    request = provider.request("before")
    with room.engine() as two, served(two, second):
        with room.engine() as one, served(one, path) as client:
            assert len({status.worker for status in client.statuses()}) == 2
            assert client.status().keys_alive == 0
            for number in range(4):
                client.sign(provider.request(f"round {number}"))
            results = client.sign(request)
        with room.database.read() as session:
            intents = session.scalars(select(Entry.content).where(Entry.kind == "signature-intended"))
            workers = {json.loads(content)["facts"]["worker"] for content in intents}
        assert len(workers) == 2
        # The first engine has ended; whoever asks now gets the second, also for what the first has signed.
        for _ in range(3):
            assert client.sign(request) == results
        assert len(client.statuses()) == 1
    with pytest.raises(Unavailable, match="engine-unavailable"):
        client.sign(request)


@pytest.mark.requirement("OPS-2", "CSC-2")
def test_an_answer_that_one_engine_lost_is_had_from_another(room: Room, path: Path, provider: Provider) -> None:
    """The first engine signs and dies before it answers; the client asks on, and there is one signature."""
    request = provider.request("once")
    path.parent.mkdir()
    with (
        room.engine() as engine,
        served(engine, path.with_name("engine.2.sock")),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
    ):
        listener.bind(str(path))
        listener.listen(1)

        def sign_and_die() -> None:
            stream, _ = listener.accept()
            with stream:
                engine.sign(parse_sign_request(receive_frame(stream, 1 << 20) or {}))

        dying = threading.Thread(target=sign_and_die)
        dying.start()
        results = EngineClient(path, timeout=20).sign(request)
        dying.join(20)
    assert len(results) == 1
    with room.database.read() as session:
        assert len(session.scalars(select(Signature.id)).all()) == 1


def test_a_busy_engine_is_passed_by(room: Room, path: Path, provider: Provider) -> None:
    busy = SlowEngine()
    with (
        room.engine() as engine,
        served(engine, path.with_name("engine.2.sock")),
        served(busy, path, limits=ServerLimits(connections=1)),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holding,
    ):
        holding.connect(str(path))
        send_frame(holding, {"op": "status"})
        assert busy.begun.wait(20)
        client = EngineClient(path, timeout=20)
        assert [len(client.sign(provider.request(f"{number}"))) for number in range(2)] == [1, 1]
        busy.go_on.set()


ERRORS = [
    Invalid("a-code", "A sentence.", fact=1),
    Refused("a-code", "A sentence.", fact="x"),
    NotFound("a-code", "A sentence."),
    Conflict("a-code", "A sentence.", fact=True),
    Unavailable("a-code", "A sentence.", fact=None),
    TooMany("a-code", "A sentence.", retry_after=3, fact=2.5),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.kind)
def test_every_error_of_the_family_crosses_the_socket(path: Path, error: TspError) -> None:
    class Failing(SlowEngine):
        def status(self) -> EngineStatus:
            raise error

    with served(Failing(), path) as client, pytest.raises(type(error)) as caught:
        client.status()
    assert (caught.value.code, caught.value.sentence) == (error.code, error.sentence)
    assert caught.value.facts == error.facts


@settings(deadline=None)
@given(st.binary(max_size=50), st.binary(max_size=50), st.text("0123456789abcdef", max_size=64))
def test_results_survive_the_journey(cms: bytes, certificate: bytes, digest: str) -> None:
    result = SignatureResult(digest, cms, certificate, "evidence-1", {"times": {"č": "ž"}, "n": 1}, "ab")
    left, right = socket.socketpair()
    with left, right:
        send_frame(left, {"result": encode_results([result])})
        answer = receive_frame(right, 10_000)
        assert answer is not None
        send_frame(left, encode_error(ERRORS[0]))
        assert (receive_frame(right, 10_000) or {})["error"]["facts"] == {"fact": 1}
    assert [parse_result(item) for item in answer["result"]["signatures"]] == [result]


def test_a_sign_request_is_read_as_it_was_sent() -> None:
    request = SignRequest("a", "b", ["c"])
    assert parse_sign_request({"op": "sign", "approval": "a", "proof": "b", "digests": ["c"]}) == request


def without_token(room: Room, hidden: Path) -> Callable[[], None]:
    """Takes the token's directory away, as if the device were unplugged; returns how to put it back."""
    directory = Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"
    serial = room.token.serial
    (place,) = [d for d in directory.iterdir() if d.name.endswith(f"{serial[:4]}-{serial[4:]}")]
    shutil.move(place, hidden)

    def put_back() -> None:
        shutil.move(hidden, place)

    return put_back


@pytest.mark.requirement("SIG-1", "CSC-2")
def test_without_the_token_nothing_is_half_done(room: Room, path: Path, provider: Provider, tmp_path: Path) -> None:
    request = provider.request("one")
    with room.engine() as engine, served(engine, path) as client:
        client.sign(provider.request("before"))
        put_back = without_token(room, tmp_path / "unplugged")
        try:
            with pytest.raises(Unavailable) as caught:
                client.sign(request)
        finally:
            put_back()
    assert caught.value.code == "hsm-unavailable"
    with room.database.read() as session:
        assert sorted(session.scalars(select(Approval.state))) == ["released", "signed"]
        assert sorted(session.scalars(select(SignatureIntent.outcome))) == ["abandoned", "done"]
        assert len(session.scalars(select(Signature.id)).all()) == len(session.scalars(select(Evidence.id)).all()) == 1


@pytest.mark.requirement("OPS-2")
def test_the_role_ends_with_a_stop_signal(room: Room, path: Path, provider: Provider) -> None:
    signed: list[int] = []

    def use_and_stop() -> None:
        signed.append(len(EngineClient(path, timeout=20).sign(provider.request())))
        os.kill(os.getpid(), signal.SIGTERM)

    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    user = threading.Thread(target=use_and_stop)
    try:
        with room.engine() as engine:
            serve_engine(engine, path, room.randomness, ready=user.start)
    finally:
        for number, handler in zip(STOP_SIGNALS, before, strict=True):
            signal.signal(number, handler)
    user.join(20)
    assert signed == [1]
    assert not path.exists()
    assert room.one_time_keys() == 0
