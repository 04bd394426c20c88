"""Composition: which objects each role is made of. Nothing here decides anything."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Literal

import typer

import hsm
from hsm.probe import is_back
from tsp.ca.upkeep import read_transcript
from tsp.core.clock_guard import ClockGuard
from tsp.core.database import Database
from tsp.core.errors import Refused
from tsp.core.log import configure
from tsp.core.sealing import Sealer
from tsp.core.settings import Role, Settings, load_settings, process_name
from tsp.parts import account_holder, ceremony_context, checkpoint_stamper
from tsp.runtime import TOKEN_OF_ROLE, Runtime
from tsp.serving import App, inherited_socket, listening_socket, serve
from tsp.token_watch import TokenWatch
from tsp.web import Pages

log = logging.getLogger("tsp")


def run_role(role: Role, settings: Settings, *, number: int = 1, fd: int | None = None) -> None:
    """Runs one role in this process until it is told to stop.

    `number` tells the processes of one role apart; two that run at the same time have two numbers.
    `fd` is a listening socket that somebody else holds open (`tsp.serving`); without it a face makes its own.
    """
    runtime = Runtime(settings, number=number)
    configure(role, runtime.clock)
    _require_same_mode(settings)
    with ExitStack() as stack:
        if role == "engine":
            _run_engine(runtime, stack)
        elif role == "notify":
            _run_notify(runtime, stack)
        else:
            app = _FACES[role](runtime, stack)
            listener = inherited_socket(fd) if fd is not None else face_socket(settings, role)
            serve(app, role, listener, runtime.troubles)


def _require_same_mode(settings: Settings) -> None:
    """`Refused` (mode-mismatch) where authorities of a demo would serve in production, or the other way round."""
    made_for = read_transcript(settings.var / "ca")["mode"]
    if made_for != settings.mode:
        raise Refused(
            "mode-mismatch",
            f"The key ceremony of this installation was held for mode {made_for}, but the configuration says "
            f"{settings.mode}. Make an installation of its own for each.",
        )


def face_socket(settings: Settings, role: Role) -> socket.socket:
    """A socket of its own for a face, which other processes of the role may share the port with."""
    return listening_socket(settings.listen.host, _origin(settings, role))


def _origin(settings: Settings, role: Role) -> str:
    origin = settings.origin(role)
    assert origin is not None
    return origin


def _watched_token(runtime: Runtime, stack: ExitStack, name: str) -> hsm.Token:
    """The open token of this name; the process ends in order when it was lost and is back (`TokenWatch`)."""
    token = stack.enter_context(runtime.open_token(name))
    module = runtime.hsm_module()
    watch = TokenWatch(token, lambda: is_back(module, token.label), lambda: os.kill(os.getpid(), signal.SIGTERM))
    runtime.troubles.append(watch.trouble)
    stack.enter_context(_background(watch.run, f"token-{name}"))
    return token


def _guarded_clock(runtime: Runtime, earliest: datetime | None = None) -> ClockGuard:
    """The clock of a role whose word depends on the time: it gives none after a jump."""
    guard = ClockGuard(runtime.clock, timedelta(milliseconds=runtime.settings.clock.max_jump_ms), earliest)
    runtime.troubles.append(guard.trouble)
    return guard


def _pages(runtime: Runtime, face: Role, form_action: tuple[str, ...] = ()) -> Pages:
    settings = runtime.settings
    return Pages(
        name=settings.name,
        face=face,
        origin=_origin(settings, face),
        support=settings.provider.support_email,
        operator=settings.provider.organisation,
        randomness=runtime.randomness,
        form_action=form_action,
        demo=settings.demo,
    )


def _run_engine(runtime: Runtime, stack: ExitStack) -> None:
    from tsp.audit.entries import Writer
    from tsp.audit.tables import last_recorded
    from tsp.ca.authority import Authority
    from tsp.ca.generation_watch import GenerationWatch
    from tsp.ca.plan import SUBSCRIBER_ISSUERS
    from tsp.ca.profiles import load_profiles
    from tsp.ca.publication import CrlPublisher, CrlTerms
    from tsp.ca.urls import RepositoryUrls
    from tsp.engine.activation import KINDS, Activator, load_pinned_key
    from tsp.engine.engine import Engine
    from tsp.engine.installation import (
        activation_policy,
        pinned_key_file,
        server_limits,
        socket_path,
        terms,
    )
    from tsp.engine.liveness import Liveness
    from tsp.engine.onetime import OneTimeSigner
    from tsp.engine.server import serve_engine

    settings, randomness = runtime.settings, runtime.randomness
    token = _watched_token(runtime, stack, "ca")
    database = runtime.database()
    stack.callback(database.close)
    writer = process_name("engine", runtime.number)
    with database.read() as session:
        clock = _guarded_clock(runtime, last_recorded(session, writer))
    generations = GenerationWatch(settings.var / "ca", SUBSCRIBER_ISSUERS, token.signing_key, runtime.clock)
    issuers = generations.issuers
    _renew_responders(runtime, stack, token, database)
    # Before anything is signed: certificates point to this list.
    publisher = CrlPublisher(settings.var / "ca", issuers, database, clock, CrlTerms.of(settings))
    publisher.publish()
    stack.enter_context(_background(publisher.run, "crl"))
    stack.enter_context(_background(lambda stop: generations.run(stop, publisher.publish), "generations"))
    authority = Authority(
        load_profiles(settings.path(settings.profiles.directory), settings.profiles.oid_arc),
        issuers,
        RepositoryUrls.of(settings),
        clock,
        randomness,
        qscd=qualified(settings),
    )
    liveness = stack.enter_context(Liveness(settings.var / "run", randomness))
    signer = OneTimeSigner(token, authority, generations.chains, clock)
    signer.look_ahead(KINDS)
    engine = Engine(
        database=database,
        signer=signer,
        activator=Activator(activation_policy(settings), load_pinned_key(pinned_key_file(settings)), clock),
        liveness=liveness,
        writer=Writer(writer, randomness, runtime.clock),
        clock=clock,
        randomness=randomness,
        terms=terms(settings),
    )
    serve_engine(engine, socket_path(settings, runtime.number), randomness, limits=server_limits(settings))


def _renew_responders(runtime: Runtime, stack: ExitStack, token: hsm.Token, database: Database) -> None:
    """The engine has the keys that certify the OCSP responders; the infrastructure's serves for this alone."""
    from tsp.audit.entries import Writer
    from tsp.ca.authority import Authority
    from tsp.ca.generation_watch import GenerationWatch
    from tsp.ca.issuance import Issuance
    from tsp.ca.plan import ISSUERS, load_plan
    from tsp.ca.profiles import load_profiles
    from tsp.ca.responders import ResponderRenewal
    from tsp.ca.urls import RepositoryUrls

    settings = runtime.settings
    profiles = load_profiles(settings.path(settings.profiles.directory), settings.profiles.oid_arc)
    every = GenerationWatch(settings.var / "ca", ISSUERS, token.signing_key, runtime.clock)
    authority = Authority(profiles, every.issuers, RepositoryUrls.of(settings), runtime.clock, runtime.randomness)
    plan_file = settings.path(settings.ceremony)
    writer = Writer(process_name("engine", runtime.number), runtime.randomness, runtime.clock)
    issuance = Issuance(authority, database, runtime.clock, runtime.randomness, writer)
    renewal = ResponderRenewal(settings.var / "ca", lambda: load_plan(plan_file), issuance, runtime.clock)
    stack.enter_context(_background(lambda stop: every.run(stop, lambda: None), "every-generation"))
    stack.enter_context(_background(renewal.run, "responders"))


def qualified(settings: Settings) -> bool:
    """Whether qualified signatures can be made here: a declared QSCD, or a demo whose names all say TEST."""
    return settings.hsm.qscd or settings.demo


def _run_notify(runtime: Runtime, stack: ExitStack) -> None:
    from tsp.notify.mail import MailSender, Relay
    from tsp.notify.runner import Runner
    from tsp.notify.sending import Sender
    from tsp.notify.sms import SmsSender

    settings, outbound = runtime.settings, runtime.outbound()
    token = _watched_token(runtime, stack, "identity")
    mail = settings.mail
    password = runtime.secret(mail.password_file) if mail.password_file else ""
    senders: dict[str, Sender] = {
        "mail": MailSender(
            Relay(mail.host, mail.port, mail.sender, mail.security, mail.username, password), outbound, runtime.clock
        ),
        "sms": SmsSender(settings.sms.url, runtime.secret(settings.sms.token_file), outbound),
    }
    sealer = Sealer(token.aead_key("outbox"), runtime.randomness, "outbox")
    database = runtime.database()
    stack.callback(database.close)
    clock = _guarded_clock(runtime)
    mails, texts = (
        Runner(database, sealer, clock, runtime.randomness, senders, only=channel) for channel in ("mail", "sms")
    )
    stack.enter_context(_background(texts.run, "sms"))
    mails.run(_stop_signal())


def _stop_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _repository(runtime: Runtime, stack: ExitStack) -> App:
    from tsp.ca.http import repository_app

    return repository_app(runtime.settings.var / "ca", runtime.clock)


def _tsa(runtime: Runtime, stack: ExitStack) -> App:
    return _stamping(runtime, stack, "tsa")


def _qtsa(runtime: Runtime, stack: ExitStack) -> App:
    return _stamping(runtime, stack, "qtsa")


def _stamping(runtime: Runtime, stack: ExitStack, role: Literal["tsa", "qtsa"]) -> App:
    from tsp.audit.entries import Writer
    from tsp.ca.store import CaStore
    from tsp.tsa.http import tsa_app
    from tsp.tsa.installation import log_batches, terms_of, time_guard
    from tsp.tsa.roll_over import RollOver

    settings, store = runtime.settings, CaStore(runtime.settings.var / "ca")
    terms = terms_of(settings, role)
    token = _watched_token(runtime, stack, TOKEN_OF_ROLE[role])
    database = runtime.database()
    stack.callback(database.close)
    writer = Writer(process_name(role, runtime.number), runtime.randomness, runtime.clock)

    guard = time_guard(
        settings.time,
        accuracy_ms=terms.accuracy_ms,
        outbound=runtime.outbound(),
        clock=runtime.clock,
        randomness=runtime.randomness,
        database=database,
        writer=writer,
    )
    if guard is not None:
        stack.enter_context(_background(guard.run, "time"))
    keys = RollOver(settings.var / "ca", terms.unit, token.signing_key, [store.infrastructure], runtime.clock)
    stack.enter_context(_background(keys.run, "unit"))
    return tsa_app(
        guard=guard,
        database=database,
        signer=keys.signer,
        certificate=keys.present.certificate,
        chain=keys.chain,
        ready=keys.follow,
        clock=runtime.clock,
        randomness=runtime.randomness,
        policy=terms.policy,
        accuracy_ms=terms.accuracy_ms,
        max_clock_jump_ms=terms.max_clock_jump_ms,
        on_batch=log_batches(writer),
        troubles=runtime.troubles,
        qualified=terms.qualified,
    )


def _ocsp(runtime: Runtime, stack: ExitStack) -> App:
    from tsp.ca.ceremony import token_errors
    from tsp.ca.generations import responder_name
    from tsp.ca.store import CaStore
    from tsp.ocsp.http import Terms, database_responder, service
    from tsp.ocsp.renewal import Delegations
    from tsp.ocsp.responder import Delegation

    terms = Terms.of(runtime.settings.ocsp)
    token = _watched_token(runtime, stack, "ocsp")
    database = runtime.database()
    stack.callback(database.close)
    keys: dict[str, hsm.SigningKey] = {}

    def delegations() -> list[Delegation]:
        store = CaStore(runtime.settings.var / "ca")
        for name in store.issuers:
            if name not in keys:
                with token_errors("ocsp"):
                    keys[name] = token.signing_key(responder_name(name))
        return [Delegation(n, store.certificate(n), store.ocsp[n], keys[n]) for n in store.issuers]

    present = delegations()
    clock = _guarded_clock(runtime)
    responder = database_responder(present, database, clock, terms)
    stack.enter_context(_background(Delegations(responder, delegations, present).run, "delegations"))
    return service(responder, database, runtime.clock, terms)


def _idp(runtime: Runtime, stack: ExitStack) -> App:
    from tsp.idp.app import idp_app

    database = runtime.database()
    stack.callback(database.close)
    return idp_app(
        runtime.settings,
        database=database,
        token=_watched_token(runtime, stack, "identity"),
        outbound=runtime.outbound(),
        clock=_guarded_clock(runtime),
        randomness=runtime.randomness,
        writer=process_name("idp", runtime.number),
    )


def _validate(runtime: Runtime, stack: ExitStack) -> App:
    from tsp.validate.app import validate_app
    from tsp.validate.trust import TrustAnchors

    isolated = runtime.isolated()
    stack.callback(isolated.close)
    trust = TrustAnchors.of_installation(runtime.settings.var / "ca", runtime.settings.var / "trust")
    return validate_app(_pages(runtime, "validate"), trust, isolated, runtime.clock)


def _sign(runtime: Runtime, stack: ExitStack) -> App:
    from tsp.adapters import EnginePort
    from tsp.audit.installation import installed_key, witnesses
    from tsp.audit.package import EvidencePackages
    from tsp.engine.installation import socket_path
    from tsp.formats.pades import DocumentLimits
    from tsp.sign.app import sign_app
    from tsp.sign.requests import KINDS, Policy
    from tsp.sign.validation import OwnValidator
    from tsp.validate.trust import TrustAnchors

    settings, clock = runtime.settings, runtime.clock
    token = _watched_token(runtime, stack, "site")
    database = runtime.database()
    stack.callback(database.close)
    isolated = runtime.isolated()
    stack.callback(isolated.close)
    trust = TrustAnchors.of_installation(settings.var / "ca")
    origins = {"tsa": settings.urls.tsa, "qtsa": settings.urls.qtsa}
    return sign_app(
        pages=_pages(runtime, "sign", form_action=(settings.urls.idp,)),
        database=database,
        clock=clock,
        guard=_guarded_clock(runtime),
        randomness=runtime.randomness,
        outbound=runtime.outbound(),
        isolated=isolated,
        client_key=token.signing_key("site-client"),
        documents_key=token.aead_key("documents"),
        documents_directory=settings.var / "documents",
        engine=EnginePort(socket_path(settings)),
        validator=OwnValidator(trust, isolated, clock, 2 * settings.sign.max_document_bytes),
        client_id="enkrat-sign",
        issuer=settings.urls.idp,
        tsa_urls={kind: origins[service] for kind, service in settings.sign.time_stamps.items()},
        log_url=settings.urls.log,
        packages=EvidencePackages(
            database, lambda: installed_key(settings), lambda: [one.key for one in witnesses(settings)]
        ),
        validate_url=settings.urls.validate_,
        policy=Policy(
            limits=DocumentLimits(
                settings.sign.max_document_bytes, settings.sign.max_pages, settings.sign.embedded_files
            ),
            keep=timedelta(days=settings.sign.keep_days),
            kinds=tuple(kind for kind in KINDS if kind != "qualified" or qualified(settings)),
        ),
    )


def _log(runtime: Runtime, stack: ExitStack) -> App:
    from tsp.audit.entries import Writer
    from tsp.audit.http import Watch, log_app
    from tsp.audit.installation import log_origin, publish_key, sequencer_limits, witnesses
    from tsp.audit.sequencer import Sequencer
    from tsp.audit.witnesses import WitnessLine
    from tsp.core.randomness import new_id

    settings = runtime.settings
    token = _watched_token(runtime, stack, "log")
    database = runtime.database()
    stack.callback(database.close)
    sequencer = Sequencer(
        database,
        token.signing_key("log-checkpoint"),
        origin=log_origin(settings),
        holder=f"log-{new_id(runtime.randomness)}",
        clock=_guarded_clock(runtime),
        limits=sequencer_limits(settings),
        min_witnesses=settings.log.min_witnesses,
    )
    publish_key(settings, sequencer.key)
    stack.enter_context(_background(sequencer.run, "sequencer"))
    watching = witnesses(settings)
    for witness in watching:
        line = WitnessLine(
            witness,
            all_names=[one.key.name for one in watching],
            needed=settings.log.min_witnesses,
            database=database,
            outbound=runtime.outbound(),
            writer=Writer(process_name("log", runtime.number), runtime.randomness, runtime.clock),
            clock=runtime.clock,
        )
        stack.enter_context(_background(line.run, "witness"))
    stack.enter_context(_background(checkpoint_stamper(runtime, database).run, "time-stamps"))
    watch = Watch(tuple(one.key for one in watching), settings.log.min_witnesses)
    return log_app(_pages(runtime, "log"), database, sequencer.key, watch=watch, clock=runtime.clock)


@contextmanager
def _background(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Runs `work(stop)` in a thread for as long as the block lasts.

    Where the work ends by an error of its own the process ends in order, to begin anew: it must not live on
    with a part of its duties.
    """
    stop = threading.Event()

    def run() -> None:
        try:
            work(stop)
        except BaseException:
            log.exception("%s ended by an error; this process ends", name)
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


_FACES: dict[Role, Callable[[Runtime, ExitStack], App]] = {
    "idp": _idp,
    "sign": _sign,
    "validate": _validate,
    "ocsp": _ocsp,
    "tsa": _tsa,
    "qtsa": _qtsa,
    "repository": _repository,
    "log": _log,
}


def add_commands(app: typer.Typer) -> None:
    """Hangs the wings' sub-commands under `tsp`."""
    from tsp.adapters import revocation_context
    from tsp.audit.commands import app as audit_commands
    from tsp.audit.evidence_commands import app as evidence_commands
    from tsp.ca.certificate_commands import certificate_commands
    from tsp.ca.commands import ceremony_commands
    from tsp.ca.revocation_commands import add_revocation
    from tsp.validate.commands import verify

    app.command()(verify)
    app.add_typer(audit_commands, name="audit")
    app.add_typer(evidence_commands, name="evidence")
    app.add_typer(ceremony_commands(lambda: ceremony_context(Runtime(load_settings()))), name="ceremony")
    certificates = certificate_commands(
        lambda: ceremony_context(Runtime(load_settings())),
        lambda account: account_holder(Runtime(load_settings()), account),
    )
    add_revocation(certificates, lambda: revocation_context(ceremony_context(Runtime(load_settings()))))
    app.add_typer(certificates, name="certificate")
