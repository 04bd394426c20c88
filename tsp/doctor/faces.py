"""The roles that run: whether they answer, and what they say is wrong with them."""

import json
from collections.abc import Iterator

from tsp.core.errors import TspError, Unavailable
from tsp.core.outbound import OutboundResponse
from tsp.core.settings import process_name
from tsp.doctor.diagnosis import Diagnosis
from tsp.engine.installation import socket_path
from tsp.engine.protocol import EngineClient, EngineStatus
from tsp.runtime import Runtime

#: What a role names in /health, and the engine over its socket.
_ADVICE = {
    "token-gone": "Bring the token back (device, connection, token directory). The role takes it up by itself.",
    "clock-unsound": "Check the time sources. A clock that is set right again is believed by itself, but for "
    "time-stamping: restart that role. Where the new time is the right one, restart every role.",
    "suspended": "Look into the token's log. The engine goes on by itself when the token shows no key alive; if it "
    "does not, restart the engine, whose keys end with its process, and report this.",
}


def engine(runtime: Runtime) -> Iterator[Diagnosis]:
    """What the processes of the signing engine say of themselves over their sockets."""
    wanted = runtime.settings.processes.engine
    start = "Start it: `tsp serve --role engine`, each further one with its `--number`."
    try:
        found = EngineClient(socket_path(runtime.settings), timeout=3.0).statuses()
    except Unavailable as error:
        gone = _ADVICE["token-gone"] if error.code == "hsm-unavailable" else start
        yield Diagnosis("engine", False, error.code, gone)
        return
    for number, status in enumerate(found, 1):
        seen, advice = _judged(status)
        yield Diagnosis(process_name("engine", number), not advice, seen, advice)
    if len(found) < wanted:
        yield Diagnosis("engine processes", False, f"{len(found)} of {wanted} answer", start)


def _judged(status: EngineStatus) -> tuple[str, str]:
    if status.suspended:
        return "suspended: the end of a one-time key was not proven", _ADVICE["suspended"]
    if not status.token_present:
        return "token-gone", _ADVICE["token-gone"]
    if not status.clock_sound:
        return "clock-unsound", _ADVICE["clock-unsound"]
    return f"ready, private keys alive: {status.keys_alive}", ""


def faces(runtime: Runtime) -> Iterator[Diagnosis]:
    """GET /health of every face."""
    outbound = runtime.outbound()
    for name, origin in runtime.settings.urls.model_dump(by_alias=True).items():
        subject = f"face {name}"
        try:
            answer = outbound.request("GET", f"{origin}/health", timeout=3.0)
        except TspError:
            start = f"Start it: `tsp serve --role {name}`. Where it runs, its log says why it ends."
            yield Diagnosis(subject, False, f"{origin} does not answer", start)
            continue
        troubles = _troubles(answer)
        advice = " ".join(_ADVICE.get(trouble, "") for trouble in troubles).strip() or "Look at the role's log."
        seen = " ".join((f"{origin} answers {answer.status}", *troubles))
        yield Diagnosis(subject, answer.status == 200, seen, advice)


def _troubles(answer: OutboundResponse) -> list[str]:
    """The codes that a role tells; none where something else than a role answers."""
    try:
        told = json.loads(answer.body)["troubles"]
    except (ValueError, KeyError, TypeError):
        return []
    return [str(code) for code in told] if isinstance(told, list) else []
