"""What the repository of one installation is made of."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Final, Protocol

from asn1crypto import x509

from hsm import Token
from tsp.audit.entries import Writer
from tsp.ca.authority import Authority, IssuingKey
from tsp.ca.generations import Generations
from tsp.ca.http import App
from tsp.ca.issuance import OPERATORS, Issuance
from tsp.ca.names import ServiceName
from tsp.ca.plan import load_plan
from tsp.ca.profiles import load_profiles
from tsp.ca.store import CaStore
from tsp.ca.tables import Certificate, serial_text
from tsp.ca.urls import RepositoryUrls
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.randomness import Randomness
from tsp.core.settings import Settings
from tsp.repository.app import Shelves, repository_app
from tsp.repository.facts import LANGUAGES, Facts, Language, facts_of
from tsp.repository.library import Library
from tsp.repository.samples import SampleShelf
from tsp.repository.services import services
from tsp.repository.trust_publication import ListSigner, TrustListPublisher, TrustListShelf, certified_signer
from tsp.repository.trustlist import Scheme
from tsp.web import Pages
from tsp.web.language import Languages

log = logging.getLogger("tsp.repository")
SCHEME_NAME: Final = "Trust list of our services"
NOTICE: Final = (
    "This is the provider's own list. It is not the trusted list of a Member State, and nothing in it makes a service "
    "qualified under Regulation (EU) No 910/2014."
)


@cache
def _languages() -> Languages:
    """The catalogues are read once for a process, as pages do."""
    return Languages()


class Hands(Protocol):
    """What a process has in its hands (`tsp.runtime.Runtime`)."""

    settings: Settings
    clock: Clock
    randomness: Randomness

    def database(self) -> Database:
        """The installation's database."""
        ...

    def open_token(self, name: str) -> Token:
        """The token of this name, open."""
        ...


def repository(settings: Settings, pages: Pages, clock: Clock) -> App:
    """The face of an installation.

    What a demo promises it publishes at once. In production a person publishes it (`tsp documents build`), and
    the log says where the configuration says something else.
    """
    shown = shelves(settings, clock)
    if settings.demo:
        shown.library.build()
    elif due := shown.library.due():
        log.warning("statements differ from the configuration, run `tsp documents build`: %s", ", ".join(due))
    return repository_app(pages, settings.var / "ca", clock, shown)


def facts(settings: Settings) -> Mapping[Language, Facts]:
    """The facts as configuration, profiles and plan say them now."""
    profiles = load_profiles(settings.path(settings.profiles.directory), settings.profiles.oid_arc)
    return facts_of(settings, profiles, load_plan(settings.path(settings.ceremony)), _languages())


def library(settings: Settings, clock: Clock) -> Library:
    """The statements in `<var>/repository/documents`."""
    return Library(settings.var / "repository" / "documents", lambda: facts(settings), clock)


def trust_list_shelf(settings: Settings) -> TrustListShelf:
    """The trust list's issues in `<var>/repository/trust-list`."""
    return TrustListShelf(settings.var / "repository" / "trust-list")


def shelves(settings: Settings, clock: Clock) -> Shelves:
    """What the repository's pages show besides the authorities."""
    profiles = load_profiles(settings.path(settings.profiles.directory), settings.profiles.oid_arc)
    return Shelves(
        library=library(settings, clock),
        places=RepositoryUrls.of(settings).pds,
        trust_list=trust_list_shelf(settings),
        samples=SampleShelf(settings.var / "repository" / "samples"),
        titles={name: profile.title for name, profile in profiles.items()},
    )


def scheme(settings: Settings) -> Scheme:
    """Who keeps the list, and what it says that it is not."""
    owner, languages = settings.provider, _languages()
    known = facts(settings)
    return Scheme(
        operator=owner.organisation,
        identifier=owner.organisation_identifier,
        names={language: languages.text(language, SCHEME_NAME) for language in reversed(LANGUAGES)},
        street=owner.street,
        postal_code=owner.postal_code,
        locality=owner.locality,
        country=owner.country,
        email=owner.support_email,
        repository=settings.urls.repository,
        notices={
            language: f"{languages.text(language, NOTICE)} {known[language].values['standing']}"
            for language in reversed(LANGUAGES)
        },
    )


@contextmanager
def publishing(runtime: Hands) -> Iterator[TrustListPublisher]:
    """What signs the trust list, with the token of the authorities open for as long as the block lasts."""
    with runtime.open_token("ca") as token:
        database = runtime.database()
        try:
            yield trust_list_publisher(runtime, token, database, OPERATORS)
        finally:
            database.close()


def trust_list_publisher(runtime: Hands, token: Token, database: Database, writer: str) -> TrustListPublisher:
    """What keeps the list right, for the process that has the authorities' token open.

    `writer` is its name in the log, where the signer's certificates stand.
    """
    settings = runtime.settings
    profiles = load_profiles(settings.path(settings.profiles.directory), settings.profiles.oid_arc)
    shelf, directory = trust_list_shelf(settings), settings.var / "ca"
    owner = settings.provider

    def signer() -> ListSigner:
        store = CaStore(directory)
        used = store.in_use(runtime.clock.now())["infrastructure"]
        issuer = IssuingKey.of(used, store.certificate(used), token.signing_key(f"{used}-ca"))
        issuers = Generations({used: issuer}, {"infrastructure": used})
        authority = Authority(profiles, issuers, RepositoryUrls.of(settings), runtime.clock, runtime.randomness)
        title = f"{settings.name} {'TEST ' if settings.demo else ''}Trust List"
        name = ServiceName(owner.country, owner.organisation, owner.organisation_identifier, title)
        told = Writer(writer, runtime.randomness, runtime.clock)
        issuance = Issuance(authority, database, runtime.clock, runtime.randomness, told)
        return certified_signer(shelf, token, issuance, name, runtime.clock)

    def revoked_at(certificate: bytes) -> datetime | None:
        serial = serial_text(x509.Certificate.load(certificate).serial_number)
        with database.read() as session:
            row = session.get(Certificate, serial)
            return row.revoked_at if row else None

    return TrustListPublisher(
        shelf,
        lambda: scheme(settings),
        lambda now: services(CaStore(directory), profiles, settings.urls, revoked_at, now),
        signer,
        runtime.clock,
        timedelta(days=settings.practice.trust_list_days),
    )
