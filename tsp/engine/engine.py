"""The engine: one public method a use case (sign, status, sweep).

    approval verified -> reserved, intent durable -> key cycle for each document -> one transaction with
    certificate, signature, evidence, log entries and the approval's end -> answer

Whatever fails before that transaction leaves the approval free for another try; what a killed process
leaves is settled by `sweep`.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import Session

from hsm import HsmError
from tsp.audit.canonical import Json, canonical
from tsp.audit.entries import Writer, record
from tsp.audit.tables import Entry
from tsp.ca.authority import PreparedCertificate
from tsp.ca.tables import Certificate
from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Refused, TspError, Unavailable
from tsp.core.randomness import Randomness, new_id
from tsp.engine import approvals, evidence
from tsp.engine.activation import Activation, Activator
from tsp.engine.approvals import Reservation, Terms
from tsp.engine.liveness import Liveness
from tsp.engine.onetime import OneTimeSigner, OnStep, Order, SignedOnce, Step, hsm_unavailable
from tsp.engine.protocol import EngineStatus, SignatureResult, SignRequest
from tsp.engine.tables import Evidence, Signature

log = logging.getLogger("tsp.engine")

#: Lasting keys of the token `ca`; every other private key there is a one-time key that is alive.
SERVICE_LABELS = frozenset({"issuing-ca", "infrastructure-ca"})


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


def _no_hook(_step: Step) -> None:
    """Nobody watches the steps."""


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
        on_step: OnStep = _no_hook,
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
        self._suspended = False

    def sign(self, request: SignRequest) -> list[SignatureResult]:
        """Signs what the approval names: one key, certificate and signature for each document.

        The same approval again gives the stored result. Raises what `Activator.verify` and
        `approvals.reserve` raise, and `Unavailable` where token, authority or database do not answer;
        then nothing was signed and the approval can be used again.
        """
        received = self._clock.now()
        activation = self._verified(request)
        with self._database.read() as session:
            if approvals.is_signed(session, activation):
                return _stored(session, activation.jti)
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

    def _sign_once(self, activation: Activation, received: datetime) -> list[SignatureResult]:
        held = self._reserve(activation)
        if held is None:
            # Somebody signed it between the first look and the reservation.
            with self._database.read() as session:
                return _stored(session, activation.jti)
        call = _Call(activation, received, self._clock.now(), held, self._on_step)
        try:
            call.on_step(Step.RESERVED)
            made = [self._cycle(call, ordinal) for ordinal in range(len(activation.documents))]
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
            with self._database.write() as session:
                held = approvals.reserve(
                    session,
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
                    "digests": [document.digest_signed for document in activation.documents],
                    "worker": held.worker,
                }
                record(session, writer=self._writer, kind="signature-intended", payload=facts)
        except Refused as error:
            self._note_refusal(activation.sad_sha256, error)
            raise
        return held

    def _note_refusal(self, sad_sha256: str, error: TspError) -> None:
        with self._database.write() as session:
            facts = {"approval": sad_sha256, "code": error.code}
            record(session, writer=self._writer, kind="approval-refused", payload=facts)

    def _cycle(self, call: _Call, ordinal: int) -> SignedOnce:
        activation = call.activation
        order = Order(activation.kind, activation.person, bytes.fromhex(activation.documents[ordinal].digest_signed))

        def planned(prepared: PreparedCertificate, spki: bytes) -> None:
            with self._database.write() as session:
                key_digest = sha256(spki).hexdigest()
                approvals.plan(session, call.held, ordinal, serial=prepared.serial, public_key_sha256=key_digest)

        try:
            return self._signer.sign(order, on_planned=planned, on_step=call.on_step)
        except Unavailable as error:
            if error.code == "key-not-destroyed":
                self._suspended = True
                log.critical("a one-time key may be alive: %s", error.facts)
            raise

    def _commit(self, call: _Call, made: Sequence[SignedOnce]) -> list[SignatureResult]:
        """The outcome, in one transaction: it all exists, or none of it."""
        token = self._signer.token.state()
        with self._database.write() as session:
            now = self._clock.now()
            approvals.finish(session, call.held, now=now)
            moments = {"received": call.received, "reserved": call.reserved, "recorded": now}
            results: list[SignatureResult] = []
            for document, one in zip(call.activation.documents, made, strict=True):
                evidence_id = new_id(self._randomness)
                values = evidence.build_record(
                    evidence_id=evidence_id,
                    activation=call.activation,
                    document=document,
                    reservation=call.held,
                    made=one,
                    token=token,
                    moments=moments,
                )
                results.append(self._store(session, call, len(results), one, values))
            call.on_step(Step.RECORDED)
        return results

    def _store(
        self, session: Session, call: _Call, ordinal: int, made: SignedOnce, values: dict[str, Json]
    ) -> SignatureResult:
        activation, document = call.activation, call.activation.documents[ordinal]
        signature_id, evidence_id = new_id(self._randomness), str(values["id"])
        octets = canonical(values)
        digest = sha256(octets).hexdigest()
        issued = {"certificate": made.issued.serial, "sha256": sha256(made.issued.der).hexdigest()}
        record(session, writer=self._writer, kind="certificate-issued", payload=issued)
        facts = {"evidence": evidence_id, "sha256": digest}
        entry = record(session, writer=self._writer, kind="signature-made", payload=facts)
        session.add(self._signer.authority.row(made.issued, activation.subject_ref))
        session.flush()
        session.add(
            Signature(
                id=signature_id,
                jti=activation.jti,
                ordinal=ordinal,
                digest=document.digest_signed,
                serial=made.issued.serial,
                cms=made.cms,
                signed_at=made.times[Step.SIGNED],
            )
        )
        session.flush()
        session.add(
            Evidence(
                id=evidence_id,
                signature_id=signature_id,
                record=octets.decode(),
                sha256=digest,
                entry_id=entry.id,
            )
        )
        return SignatureResult(
            digest=document.digest_signed,
            cms=made.cms,
            certificate=made.issued.der,
            evidence_id=evidence_id,
            evidence=evidence.decode_record(octets.decode()),
            leaf=entry.leaf_hash.hex(),
        )

    def _give_back(self, held: Reservation, error: BaseException) -> None:
        """Frees the approval after a failure. Where even that fails, the sweep does it when the lease is over."""
        reason = error.code if isinstance(error, TspError) else "unexpected"
        try:
            self._release(held, reason)
        except TspError as second:
            log.error("reservation not released: %s %s", second.code, second.facts)

    def _release(self, held: Reservation, reason: str) -> bool:
        with self._database.write() as session:
            lost = approvals.release(session, held)
            if lost is None:
                return False
            facts: dict[str, Json] = {
                "attempt": held.attempt,
                "reason": reason,
                "serials": lost,
                "worker": held.worker,
            }
            record(session, writer=self._writer, kind="signature-abandoned", payload=facts)
        return True

    def _is_abandoned(self, held: Reservation) -> bool:
        if held.worker != self._liveness.name:
            return self._liveness.is_dead(held.worker)
        return held.jti not in self._working

    def _require_sound_token(self) -> None:
        """After a destruction that was not proven, no key is made until the token shows none alive."""
        if not self._suspended:
            return
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


def _stored(session: Session, jti: str) -> list[SignatureResult]:
    found = session.execute(
        select(Signature, Certificate.der, Evidence, Entry.leaf_hash)
        .join(Certificate, Certificate.serial == Signature.serial)
        .join(Evidence, Evidence.signature_id == Signature.id)
        .join(Entry, Entry.id == Evidence.entry_id)
        .where(Signature.jti == jti)
        .order_by(Signature.ordinal)
    )
    return [
        SignatureResult(
            digest=signature.digest,
            cms=signature.cms,
            certificate=der,
            evidence_id=kept.id,
            evidence=evidence.decode_record(kept.record),
            leaf=leaf_hash.hex(),
        )
        for signature, der, kept, leaf_hash in found
    ]
