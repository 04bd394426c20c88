"""Structured logs: one JSON object a line on standard error, references and numbers, never personal data.

Uvicorn's access log stays off: request lines hold identifiers that belong to people.
"""

import json
import logging
import sys
from typing import Any

from tsp.core.clock import Clock
from tsp.core.errors import TspError


class JsonLines(logging.Formatter):
    """Time, level, role, logger, message; for an error of ours its code and facts, for others only where it rose."""

    def __init__(self, role: str, clock: Clock) -> None:
        super().__init__()
        self._role = role
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self._clock.now().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def describe(error: BaseException) -> dict[str, Any]:
    """An exception without its message, which could quote what a person typed."""
    if isinstance(error, TspError):
        return {"code": error.code, **error.facts}
    trace = error.__traceback__
    where: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        where.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return {"type": type(error).__name__, "where": where[-6:]}


def configure(role: str, clock: Clock, level: int = logging.INFO) -> None:
    """Sends every logger of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role, clock))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("pyhanko", "pyhanko_certvalidator", "httpx2", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
