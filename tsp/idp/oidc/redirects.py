"""Addresses at a service with an answer in their query."""

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def with_query(address: str, values: Iterable[tuple[str, str]]) -> str:
    """The registered address with the values added to whatever query it has (RFC 6749, 4.1.2)."""
    parts = urlsplit(address)
    query = [*parse_qsl(parts.query, keep_blank_values=True), *values]
    return urlunsplit(parts._replace(query=urlencode(query)))
