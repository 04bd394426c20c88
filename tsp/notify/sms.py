"""Text messages over an HTTP gateway.

    POST <url>      Authorization: Bearer <token>      {"to": "+38641…", "text": "…", "id": "…"}

Any 2xx answer means that the gateway has taken the message over. The id is the same on a retry.
"""

import json

from tsp.core.errors import TspError
from tsp.core.outbound import Outbound
from tsp.notify.sending import Letter, SendFailed

#: Client errors that pass by themselves: timeout, conflict, too early, too many.
_PASSING = (408, 409, 425, 429)


class SmsSender:
    """Sends text messages through one gateway."""

    def __init__(self, url: str, token: str, outbound: Outbound, *, timeout: float = 10.0) -> None:
        self._url = url
        self._token = token
        self._outbound = outbound
        self._timeout = timeout

    def send(self, letter: Letter) -> None:
        """Hands the message to the gateway; raises `SendFailed`, permanent for a 4xx answer."""
        content = json.dumps({"to": letter.to, "text": letter.text, "id": letter.id}, ensure_ascii=False).encode()
        try:
            answer = self._outbound.request(
                "POST",
                self._url,
                headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
                content=content,
                timeout=self._timeout,
                max_bytes=64 * 1024,
            )
        except TspError as error:
            raise SendFailed(error.code, permanent=False) from None
        if not 200 <= answer.status < 300:
            # 401 and 403 are our own configuration: the message waits until it is mended.
            lasting = 400 <= answer.status < 500 and answer.status not in (*_PASSING, 401, 403)
            raise SendFailed(f"gateway-{answer.status}", permanent=lasting)
