"""A switch that makes a server fail for a while, so that others can show how they bear it."""

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.clock import Clock
from sandbox.web import read_json

_FOREVER = float("inf")


class _Order(BaseModel):
    """`{"seconds": 30}`, `{"down": true}` (until told otherwise) or `{"down": false}`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seconds: float | None = Field(default=None, gt=0, le=86_400)
    down: bool | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "_Order":
        if (self.seconds is None) == (self.down is None):
            raise ValueError("say either seconds or down")
        return self


class Outage:
    """Whether the server is down at this moment, and how often it has turned somebody away."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = -_FOREVER
        self.refused = 0

    def begin(self, seconds: float = _FOREVER) -> None:
        self._until = self._clock.monotonic() + seconds

    def end(self) -> None:
        self._until = -_FOREVER

    @property
    def active(self) -> bool:
        return self._clock.monotonic() < self._until

    def turns_away(self) -> bool:
        """True (and counted) while the outage lasts."""
        self.refused += self.active
        return self.active

    def route(self, path: str = "/api/down") -> Route:
        """`POST` switches, `GET` tells; both answer `{"down": …, "refused": n}`."""

        async def answer(request: Request) -> Response:
            if request.method == "POST":
                order = await read_json(request, _Order, 1024)
                if order.down is False:
                    self.end()
                else:
                    self.begin(order.seconds or _FOREVER)
            return JSONResponse({"down": self.active, "refused": self.refused})

        return Route(path, answer, methods=["GET", "POST"])
