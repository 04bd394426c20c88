"""The engine: one public method a use case (sign, status, sweep).

    approval verified -> reserved, intent durable -> key cycle for each document -> one transaction with
    certificate, signature, evidence, log entries and the approval's end -> answer

Whatever fails before that transaction leaves the approval free for another try; what a killed process
leaves is settled by `sweep`.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import TypeVar

from hsm import HsmError
from tsp.audit.canonical import Json
from tsp.audit.entries import Writer, append
from tsp.audit.overview import note_keys_alive
from tsp.ca.authority import PreparedCertificate
from tsp.ca.generations import AUTHORITY_LABELS
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Refused, TspError, Unavailable
from tsp.core.randomness import Randomness
from tsp.core.steps import unwatched
from tsp.engine import approvals
from tsp.engine.activation import Activation, Activator
from tsp.engine.approvals import Plan, Reservation, Terms
from tsp.engine.liveness import Liveness
from tsp.engine.onetime import OneTimeSigner, OnStep, Order, SignedOnce, Step, hsm_unavailable
from tsp.engine.outcomes import Outcomes, stored
from tsp.engine.protocol import EngineStatus, SignatureResult, SignRequest

log = logging.getLogger("tsp.engine")

#: Lasting keys of the token `ca`; every other private key there is a one-time key that is alive.
SERVICE_LABELS = AUTHORITY_LABELS


#: Documents of one approval that are signed one after the other, with a plan and a commit for each.
ONE_BY_ONE = 8
#: Keys that live at the same time in a larger batch, and whose certificates are planned in one transaction.
TOGETHER = 16
#: Digests that an entry of the log names; of more it holds the digest of them all.
_NAMED = 100


@dataclass(frozen=True)
class _Call:
    """What one call carries from step to step."""

    activation: Activation
    received: datetime
    reserved: datetime
    held: Reservation
    on_step: OnStep


class _Working:
    """The approvals that this process works on now, so that its own sweep leaves them alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()

    @contextmanager
    def on(self, jti: str) -> Iterator[None]:
        with self._lock:
            self._calls[jti] += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls[jti] -= 1
                self._calls += Counter()  # drops what is at zero

    def __contains__(self, jti: str) -> bool:
        with self._lock:
            return self._calls[jti] > 0


class Engine:
    """Everything is handed in, ready to use; `liveness` is held for as long as the engine works.

    `writer` names this engine in the log. `on_step` is called after each step (fault tests).
    """

    def __init__(
        self,
        *,
        database: Database,
        signer: OneTimeSigner,
        activator: Activator,
        liveness: Liveness,
        writer: Writer,
        clock: Clock,
        randomness: Randomness,
        terms: Terms | None = None,
        service_labels: frozenset[str] = SERVICE_LABELS,
        on_step: OnStep = unwatched,
    ) -> None:
        self._database = database
        self._signer = signer
        self._activator = activator
        self._liveness = liveness
        self._writer = writer
        self._clock = clock
        self._randomness = randomness
        self._terms = terms or Terms()
        self._service_labels = service_labels
        self._on_step = on_step
        self._working = _Working()
        self._planning = threading.Lock()
        self._parallel = os.cpu_count() or 1
        self._suspended = False

    def sign(self, request: SignRequest) -> list[SignatureResult]:
        """Signs what the approval names: one key, certificate and signature for each document.

        The same approval again gives the stored result. Raises what `Activator.verify` and
        `approvals.reserve` raise, and `Unavailable` where token, authority or database do not answer;
        then nothing was signed and the approval can be used again.
        """
        received = self._clock.now()
        activation = self._verified(request)
        if self._suspended:
            # What is signed can be had without the token.
            with self._database.read() as session:
                if approvals.is_signed(session, activation):
                    return stored(session, activation.jti)
            self._require_sound_token()
        with self._working.on(activation.jti):
            return self._sign_once(activation, received)

    def status(self) -> EngineStatus:
        """The state of the token, and how many one-time keys it knows now: none while nothing is signed.

        Raises `Unavailable` (hsm-unavailable).
        """
        state = self._signer.token.state()
        return EngineStatus(
            keys_alive=self._keys_alive(),
            suspended=self._suspended,
            worker=self._liveness.name,
            token=state.label,
            token_present=state.present,
            free_one_time=state.free_one_time,
            clock_sound=self._clock_is_sound(),
        )

    def _clock_is_sound(self) -> bool:
        try:
            self._clock.now()
        except Unavailable:
            return False
        return True

    def sweep(self) -> int:
        """Settles what dead workers left: their reservations are released. How many there were."""
        now = self._clock.now()
        with self._database.read() as session:
            overdue = approvals.overdue(session, now)
        released = sum(self._release(held, "worker-dead") for held in overdue if self._is_abandoned(held))
        self._liveness.tidy()
        return released

    def note_keys_alive(self) -> int:
        """Asks the token how many one-time keys it knows, and keeps the answer for the log's page (EVD-5).

        Raises `Unavailable` (hsm-unavailable, database-unavailable); then the last answer stays and grows old.
        """
        count, token = self._keys_alive(), self._signer.token.state().label
        with self._database.write() as session:
            note_keys_alive(session, self._liveness.name, token, count, self._clock.now())
        return count

    def _sign_once(self, activation: Activation, received: datetime) -> list[SignatureResult]:
        held = self._reserve(activation)
        if held is None:
            with self._database.read() as session:
                return stored(session, activation.jti)
        call = _Call(activation, received, self._clock.now(), held, self._on_step)
        try:
            call.on_step(Step.RESERVED)
            made = self._cycles(call)
            results = self._commit(call, made)
        except BaseException as error:
            self._give_back(held, error)
            raise
        call.on_step(Step.COMMITTED)
        return results

    def _verified(self, request: SignRequest) -> Activation:
        try:
            return self._activator.verify(request.approval, request.proof, request.digests)
        except (Invalid, Refused) as error:
            self._note_refusal(sha256(request.approval.encode(errors="surrogatepass")).hexdigest(), error)
            raise

    def _reserve(self, activation: Activation) -> Reservation | None:
        """The turn and its intent, durable when this returns; None where the approval is signed already."""
        try:
            with self._database.transaction() as connection:
                held = approvals.reserve(
                    connection,
                    activation,
                    activator=self._activator,
                    worker=self._liveness.name,
                    now=self._clock.now(),
                    terms=self._terms,
                )
                if held is None:
                    return None
                facts: dict[str, Json] = {
                    "approval": activation.sad_sha256,
                    "attempt": held.attempt,
                    "digests": _digests(activation),
                    "worker": held.worker,
                }
                append(connection, writer=self._writer, facts=[("signature-intended", facts)])
        except Refused as error:
            self._note_refusal(activation.sad_sha256, error)
            raise
        return held

    def _note_refusal(self, sad_sha256: str, error: TspError) -> None:
        with self._database.transaction() as connection:
            facts = {"approval": sad_sha256, "code": error.code}
            append(connection, writer=self._writer, facts=[("approval-refused", facts)])

    def _cycles(self, call: _Call) -> list[SignedOnce]:
        """Every document's key, in the order of the documents: one after the other, or a large batch in groups.

        Groups run on all processors. The first failure ends it: groups that have not begun do not begin,
        and nothing is returned.
        """
        count = len(call.activation.documents)
        if count <= ONE_BY_ONE:
            return [self._group(call, [ordinal])[0] for ordinal in range(count)]
        groups = list(_batched(range(count), TOGETHER))
        with ThreadPoolExecutor(min(len(groups), self._parallel), thread_name_prefix="engine-batch") as pool:
            running = [pool.submit(self._group, call, group) for group in groups]
            try:
                return [made for one in running for made in one.result()]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _group(self, call: _Call, ordinals: Sequence[int]) -> list[SignedOnce]:
        """A few documents, whose certificates become durable plans in one transaction."""
        activation = call.activation
        orders = [
            Order(activation.kind, activation.person, bytes.fromhex(activation.documents[ordinal].digest_signed))
            for ordinal in ordinals
        ]

        def planned(found: Sequence[tuple[PreparedCertificate, bytes]]) -> None:
            plans = [
                Plan(ordinal, prepared.serial, sha256(spki).hexdigest())
                for ordinal, (prepared, spki) in zip(ordinals, found, strict=True)
            ]
            # One of this process at a time: waiting for the database's own lock takes longer.
            with self._planning, self._database.transaction() as connection:
                approvals.plan(connection, call.held, plans)

        try:
            return self._signer.sign_together(orders, on_planned=planned, on_step=call.on_step)
        except Unavailable as error:
            if error.code == "key-not-destroyed":
                self._suspended = True
                log.critical("a one-time key may be alive: %s", error.facts)
            raise

    def _commit(self, call: _Call, made: Sequence[SignedOnce]) -> list[SignatureResult]:
        """The outcome, in one transaction: it all exists, or none of it."""
        token = self._signer.token_facts
        outcomes = Outcomes(self._signer.authority, self._writer, self._randomness)
        with self._database.transaction() as connection:
            now = self._clock.now()
            approvals.finish(connection, call.held, now=now)
            moments = {"received": call.received, "reserved": call.reserved, "recorded": now}
            results = outcomes.store(connection, call.activation, call.held, made, token, moments)
            call.on_step(Step.RECORDED)
        return results

    def _give_back(self, held: Reservation, error: BaseException) -> None:
        """Frees the approval after a failure. Where even that fails, the sweep does it when the lease is over."""
        reason = error.code if isinstance(error, TspError) else "unexpected"
        try:
            self._release(held, reason)
        except TspError as second:
            log.error("reservation not released: %s %s", second.code, second.facts)

    def _release(self, held: Reservation, reason: str) -> bool:
        with self._database.transaction() as connection:
            lost = approvals.release(connection, held)
            if lost is None:
                return False
            facts: dict[str, Json] = {
                "attempt": held.attempt,
                "reason": reason,
                "serials": lost,
                "worker": held.worker,
            }
            append(connection, writer=self._writer, facts=[("signature-abandoned", facts)])
        return True

    def _is_abandoned(self, held: Reservation) -> bool:
        if held.worker != self._liveness.name:
            return self._liveness.is_dead(held.worker)
        return held.jti not in self._working

    def _require_sound_token(self) -> None:
        """After a destruction that was not proven, no key is made until the token shows none alive."""
        if self._keys_alive():
            raise Unavailable(
                "hsm-unavailable",
                "The signing device does not answer. Nothing was signed; please try again later.",
                cause="key-not-destroyed",
            )
        self._suspended = False

    def _keys_alive(self) -> int:
        try:
            return sum(key.label not in self._service_labels for key in self._signer.token.private_keys())
        except HsmError as error:
            raise hsm_unavailable(error) from error


def _digests(activation: Activation) -> Json:
    """What an attempt is about to sign, as the log keeps it: an entry has its bounds."""
    digests = [document.digest_signed for document in activation.documents]
    if len(digests) <= _NAMED:
        return digests
    return {"count": len(digests), "sha256": sha256("".join(digests).encode()).hexdigest()}


_Item = TypeVar("_Item")


def _batched(items: Iterable[_Item], size: int) -> Iterator[tuple[_Item, ...]]:
    """The items in groups of `size`; the last may be smaller."""
    left = iter(items)
    while group := tuple(islice(left, size)):
        yield group
