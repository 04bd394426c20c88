"""The validation face: page and REST in one application."""

from starlette.applications import Starlette

from tsp.core.clock import Clock
from tsp.core.isolated import Isolated
from tsp.validate.desk import Desk
from tsp.validate.http import api_routes
from tsp.validate.pages import ValidationPages
from tsp.validate.service import MAX_BYTES
from tsp.validate.trust import TrustAnchors
from tsp.web import Pages


def validate_app(
    pages: Pages,
    trust: TrustAnchors,
    isolated: Isolated,
    clock: Clock,
    *,
    max_bytes: int = MAX_BYTES,
    at_once: int = 8,
) -> Starlette:
    """Validates for anyone, without an account (OCSP-2, SIG-4); at most `at_once` documents at a time."""
    desk = Desk(trust, isolated, clock, max_bytes=max_bytes, at_once=at_once)
    return pages.application([*ValidationPages(pages, desk).routes(), *api_routes(desk)])
