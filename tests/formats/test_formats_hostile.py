"""Every hostile file gets its right answer in bounded time and memory, and the next document is served."""

from collections.abc import Iterator

import pytest

from tests.formats.hostile_samples import HEAVY, REFUSED, REMARKED
from tests.formats.pdf_samples import classic
from tsp.core.errors import Invalid
from tsp.core.isolated import Isolated, IsolationLimits
from tsp.formats import pades

pytestmark = pytest.mark.requirement("SIG-5", "SIG-7")


@pytest.fixture(scope="module")
def tight() -> Iterator[Isolated]:
    """A nursery whose children may use little: what does not end by itself is ended soon."""
    made = Isolated(IsolationLimits(seconds=3, memory=1024**3))
    yield made
    made.close()


def answer(isolated: Isolated, pdf: bytes) -> str | frozenset[pades.Finding]:
    """The code of the refusal, or what the signer is told; the parent lives on in each case."""
    try:
        seen = pades.inspect(isolated, pdf)
    except Invalid as refusal:
        assert pades.inspect(isolated, classic()).pages == 1
        return refusal.code
    assert pades.render(isolated, pdf, 0, 200).startswith(b"\x89PNG")
    return frozenset(seen.findings)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_signed_is_refused(tight: Isolated, name: str) -> None:
    make, codes = REFUSED[name]
    assert answer(tight, make()) in ((codes,) if isinstance(codes, str) else codes)


@pytest.mark.parametrize("name", REMARKED)
def test_what_can_be_signed_is_shown_with_its_remarks(tight: Isolated, name: str) -> None:
    make, findings = REMARKED[name]
    assert answer(tight, make()) == findings
