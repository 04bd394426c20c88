"""Reading what a browser posts, under limits: small forms, and one streamed file."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from tsp.core.errors import Invalid

MAX_FIELDS = 60
MAX_FIELD_BYTES = 16 * 1024
#: How many times the limit of an upload is read and thrown away before the connection is dropped.
_DISCARD = 4
#: A body may take this many seconds, and for each so many octets that have come one second more.
PATIENCE = 30.0
PACE = 16 * 1024


@dataclass(frozen=True)
class Upload:
    """One file that a browser sent, with the other fields of its form."""

    fields: dict[str, str]
    filename: str
    content: bytes


def _malformed(reason: str) -> Invalid:
    return Invalid(
        "form-malformed", "The form could not be read. Please load the page again and repeat.", reason=reason
    )


def _too_large() -> Invalid:
    return Invalid("form-too-large", "That is more than this page accepts.")


async def arriving(request: Request) -> AsyncIterator[bytes]:
    """The body piece by piece; `Invalid` (body-too-slow) where it only drips.

    Who reads a body holds memory, and often a place that others wait for.
    """
    now = asyncio.get_running_loop().time
    began, size, stream = now(), 0, request.stream()
    while True:
        left = began + PATIENCE + size / PACE - now()
        try:
            async with asyncio.timeout(max(0.0, left)):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise Invalid("body-too-slow", "The request did not arrive in time. Send it again.") from None
        if chunk is None:
            return
        size += len(chunk)
        yield chunk


async def read_form(request: Request, limit: int) -> dict[str, str]:
    """The fields of an application/x-www-form-urlencoded body of at most `limit` bytes.

    Raises `Invalid` (form-malformed, form-too-large, body-too-slow). A field that comes twice is malformed:
    two readers must never see two different values.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise _malformed("content-type")
    body = bytearray()
    async for chunk in arriving(request):
        body += chunk
        if len(body) > limit:
            raise _too_large()
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:  # also UnicodeDecodeError
        raise _malformed("encoding") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _malformed("repeated-field")
    return fields


class _Collector:
    """Gathers the parts of a multipart body; the file part is measured while it arrives."""

    def __init__(self, file_field: str, limit: int) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.content = bytearray()
        self.finished = False
        self._file_field = file_field
        self._limit = limit
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._name = ""
        self._is_file = False
        self._value = bytearray()

    def on_part_begin(self) -> None:
        self._disposition = b""
        self._value = bytearray()
        self._is_file = False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition)
        try:
            self._name = options.get(b"name", b"").decode()
            filename = options[b"filename"].decode() if b"filename" in options else None
        except UnicodeDecodeError as error:
            raise _malformed("encoding") from error
        if kind != b"form-data" or not self._name or self._name in self.fields or len(self.fields) >= MAX_FIELDS:
            raise _malformed("part")
        if filename is not None:
            if self._name != self._file_field or self.filename is not None:
                raise _malformed("file-field")
            self.filename, self._is_file = filename, True

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.content += data[start:end]
            if len(self.content) > self._limit:
                raise _too_large()
        else:
            self._value += data[start:end]
            if len(self._value) > MAX_FIELD_BYTES:
                raise _too_large()

    def on_part_end(self) -> None:
        if self._is_file:
            return
        try:
            self.fields[self._name] = self._value.decode()
        except UnicodeDecodeError as error:
            raise _malformed("encoding") from error

    def on_end(self) -> None:
        self.finished = True


async def read_upload(request: Request, file_field: str, limit: int) -> Upload:
    """A multipart/form-data body with one file of at most `limit` bytes, refused as early as possible.

    Raises `Invalid` (form-malformed, form-too-large, body-too-slow). An empty file field gives empty content.
    """
    await _refuse_long(request, limit)
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise _malformed("content-type")
    collector = _Collector(file_field, limit)
    callbacks = {name: getattr(collector, name) for name in dir(collector) if name.startswith("on_")}
    parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
    try:
        async for chunk in arriving(request):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise _malformed("multipart") from error
    if not collector.finished:
        raise _malformed("cut-short")
    return Upload(collector.fields, collector.filename or "", bytes(collector.content))


async def _refuse_long(request: Request, limit: int) -> None:
    """Refuses a body whose declared length is too much, before anything of it is kept.

    A browser reads the answer only once it has sent everything: up to a few times the limit is taken
    in and thrown away, so that the person sees a sentence and no broken connection.
    """
    declared = request.headers.get("content-length", "")
    if not declared.isascii() or not declared.isdigit() or int(declared) <= limit + 64 * 1024:
        return
    if int(declared) <= _DISCARD * limit:
        async for _ in arriving(request):
            pass
    raise _too_large()
