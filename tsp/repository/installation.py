"""What the repository of one installation is made of."""

from collections.abc import Mapping

from tsp.ca.plan import load_plan
from tsp.ca.profiles import load_profiles
from tsp.core.clock import Clock
from tsp.core.settings import Settings
from tsp.repository.facts import Facts, Language, facts_of
from tsp.repository.library import Library
from tsp.web.language import Languages


def facts(settings: Settings) -> Mapping[Language, Facts]:
    """The facts as configuration, profiles and plan say them now."""
    profiles = load_profiles(settings.path(settings.profiles.directory), settings.profiles.oid_arc)
    return facts_of(settings, profiles, load_plan(settings.path(settings.ceremony)), Languages())


def library(settings: Settings, clock: Clock) -> Library:
    """The statements in `<var>/repository/documents`."""
    return Library(settings.var / "repository" / "documents", lambda: facts(settings), clock)
