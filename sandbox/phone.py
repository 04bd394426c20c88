"""The SMS gateway and everybody's phone.

HTTP: `POST /messages {"id", "to", "text"}` with the gateway's bearer token answers 202 and is
idempotent by `id`; `/` shows the phones to people, `GET /api/messages?to=<number>` to programs;
`POST /api/down {"seconds": n}` makes the gateway answer 503 for a while.
"""

from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.clock import Clock
from sandbox.messages import MessageStore, answer_messages
from sandbox.outage import Outage
from sandbox.settings import Limits
from sandbox.web import Problem, application, read_json, render, require_bearer


class TextMessage(BaseModel):
    """What a sender hands to the gateway; `to` is an E.164 number."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: str = Field(min_length=1, max_length=128)
    to: str = Field(pattern=r"^\+[1-9][0-9]{6,14}$")
    text: str = Field(min_length=1)
    sender: str = Field(default="", max_length=64, alias="from")


class Phone:
    """All text messages, whoever they are for."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self.limits = limits
        self.store = MessageStore(clock, _digits, limits.messages)
        self.outage = Outage(clock)
        self._accepted: dict[str, tuple[str, str]] = {}

    def accept(self, message: TextMessage) -> bool:
        """True for a new message, False for one that was accepted before under the same id.

        `Problem` 409 where the id stands for another message, 400 where the text is too long.
        """
        if len(message.text) > self.limits.sms_characters:
            raise Problem(400, "text-too-long", f"A message may hold {self.limits.sms_characters} characters.")
        content = (message.to, message.text)
        if self._accepted.setdefault(message.id, content) is not content:
            if self._accepted[message.id] != content:
                raise Problem(409, "id-taken", "Another message was sent with this id.")
            return False
        while len(self._accepted) > self.limits.messages:
            del self._accepted[next(iter(self._accepted))]
        self.store.add(message.to, message.text, sender=message.sender, reference=message.id)
        return True


def phone_app(phone: Phone, gateway_token: str) -> Starlette:
    """The gateway's HTTP interface and the phones' pages."""

    async def send(request: Request) -> Response:
        require_bearer(request, gateway_token)
        if phone.outage.turns_away():
            raise Problem(503, "gateway-down", "The gateway is down; try again later.")
        message = await read_json(request, TextMessage, phone.limits.body_bytes)
        new = phone.accept(message)
        return JSONResponse({"id": message.id, "status": "accepted" if new else "known"}, 202)

    async def messages(request: Request) -> Response:
        return await answer_messages(request, phone.store, phone.limits.wait_seconds)

    async def page(request: Request) -> Response:
        to = request.query_params.get("to", "")
        context = {
            "to": to,
            "messages": phone.store.find(to) if _digits(to) else [],
            "conversations": phone.store.conversations(),
            "down": phone.outage.active,
        }
        return render(request, "phone.html", context)

    return application(
        [
            Route("/", page),
            Route("/messages", send, methods=["POST"]),
            Route("/api/messages", messages),
            phone.outage.route(),
        ]
    )


def _digits(number: str) -> str:
    return "".join(character for character in number if character in "0123456789")
