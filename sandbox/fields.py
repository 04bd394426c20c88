"""Types of the values that people and programs send to the sandbox's servers."""

import re
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field

from sandbox.people import check_digit


def _tax_number(value: str) -> str:
    number = re.sub(r"^SI|[\s-]", "", value)
    if not re.fullmatch(r"[1-9][0-9]{7}", number) or check_digit(number[:7]) != number[7]:
        raise ValueError("must be eight digits with a right check digit")
    return number


def _iso_date(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError("must be a date like 1980-12-31") from None


Text = Annotated[str, Field(min_length=1, max_length=100)]
TaxNumber = Annotated[str, AfterValidator(_tax_number)]
IsoDate = Annotated[str, AfterValidator(_iso_date)]
