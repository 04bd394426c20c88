"""A person's mail and phone as programs read them: the next code that comes, without sleeping."""

import re
from collections import defaultdict
from typing import Any

import httpx2

#: How long one code may take, in seconds, and how long one question to the server waits (less than the client's
#: timeout).
CODE_SECONDS, _WAIT_SECONDS = 60, 20
_CODE = re.compile(r"(?<![0-9A-Za-z])[0-9]{6}(?![0-9A-Za-z])")


class NoCode(Exception):
    """No message with a code came in time; the message says for whom and what came instead."""


class Inbox:
    """Reads mailbox and phone of the sandbox; every message is looked at once."""

    def __init__(self, client: httpx2.Client, mailbox: str, phone: str) -> None:
        self._client = client
        self._mailbox = mailbox
        self._phone = phone
        self._seen: dict[tuple[str, str], int] = defaultdict(int)

    def mailed_code(self, address: str) -> str:
        """The code of the next mail to this address; `NoCode` when none comes."""
        return self._next_code(self._mailbox, address)

    def texted_code(self, number: str) -> str:
        """The code of the next text message to this number; `NoCode` when none comes."""
        return self._next_code(self._phone, number)

    def _next_code(self, server: str, to: str) -> str:
        subjects: list[str] = []
        for _ in range(CODE_SECONDS // _WAIT_SECONDS):
            for message in self._next_messages(server, to):
                found = _CODE.search(message["text"])
                if found:
                    return found.group()
                subjects.append(message["subject"] or message["text"][:40])
        came = f"only: {', '.join(subjects)}" if subjects else "nothing at all"
        raise NoCode(f"no code for {to} came within {CODE_SECONDS} s at {server}; {came}")

    def _next_messages(self, server: str, to: str) -> list[dict[str, Any]]:
        """What came since the last look, newest first; waits for it."""
        query = {"to": to, "after": str(self._seen[server, to]), "wait": str(_WAIT_SECONDS)}
        answer = self._client.get(f"{server}/api/messages", params=query)
        messages: list[dict[str, Any]] = answer.raise_for_status().json()
        if messages:
            self._seen[server, to] = messages[0]["id"]
        return messages
