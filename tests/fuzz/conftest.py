"""The services whose parsers are tried, as their own tests have them."""

from tests.ocsp.conftest import make_responder, responder
from tests.tsa.conftest import make_unit, unit

__all__ = ["make_responder", "make_unit", "responder", "unit"]
