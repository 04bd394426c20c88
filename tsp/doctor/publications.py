"""What the repository publishes besides certificates and revocation lists: statements and the trust list."""

from collections.abc import Iterator
from datetime import timedelta

from tsp.doctor.diagnosis import Diagnosis
from tsp.repository.installation import library, trust_list_shelf
from tsp.runtime import Runtime

#: A new issue is due at half of the time that the last one is good for; this is long after it.
_LEFT = timedelta(days=14)


def statements(runtime: Runtime) -> Iterator[Diagnosis]:
    """Whether the published statements say what is configured."""
    due = library(runtime.settings, runtime.clock).due()
    yield Diagnosis(
        "statements",
        not due,
        f"not what is configured: {', '.join(sorted(due))}" if due else "say what is configured",
        "Read what changed, have it approved, and publish it: `tsp documents build`.",
    )


def trust_list(runtime: Runtime) -> Iterator[Diagnosis]:
    """Whether the published trust list is good for long enough."""
    listed = trust_list_shelf(runtime.settings).newest()
    yield Diagnosis(
        "trust list",
        listed is not None and listed.next_update - runtime.clock.now() > _LEFT,
        f"issue {listed.sequence}, next update {listed.next_update:%Y-%m-%d %H:%M}" if listed else "not there",
        "Look why the engine does not publish a new one: its log says so. Or run `tsp trustlist publish`.",
    )
