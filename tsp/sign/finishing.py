"""From the approval to the finished file: engine, time-stamp, status, assembly, validation.

Every outcome is kept before the next thing is asked for, so that a service that is down costs a
retry and nothing else: the engine answers the same approval with the same signature, and a
time-stamp that is here is not asked for again. One worker at a time holds the session's lease.
"""

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography import x509

from tsp.core.clock import Clock
from tsp.core.database import Database
from tsp.core.errors import Conflict, Refused, TooMany, TspError, Unavailable
from tsp.core.isolated import Isolated
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.formats import cms, pades, time_stamp
from tsp.sign import tables
from tsp.sign.client_key import ClientKey
from tsp.sign.documents import FINAL, prepared
from tsp.sign.material import Collector, Material
from tsp.sign.ports import SignedDigest, SigningPort, ValidationPort
from tsp.sign.requests import AFTER_APPROVAL, SigningRequests, approval_context, in_progress, moved_on, result_context
from tsp.sign.tables import SigningSession, State, move
from tsp.sign.words import PROBLEMS

log = logging.getLogger("tsp.sign")

#: Longer than every call of one run together; a worker that died is taken for dead after it.
LEASE = timedelta(seconds=180)
#: Engine errors after which the same approval may be tried again.
_RETRY = (Unavailable, TooMany, Conflict)
_RESUME_BATCH = 20
_LONG_TERM = ("B-LT", "B-LTA")


class Finishing:
    """Makes the finished file of an approved session; `tsa_urls` says for
    each kind of signature where time-stamp requests are posted."""

    def __init__(
        self,
        *,
        requests: SigningRequests,
        database: Database,
        engine: SigningPort,
        key: ClientKey,
        tsa_urls: Mapping[str, str],
        outbound: Outbound,
        validator: ValidationPort,
        isolated: Isolated,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._requests = requests
        self._database = database
        self._engine = engine
        self._key = key
        self._tsa_urls = tsa_urls
        self._outbound = outbound
        self._collector = Collector(outbound, clock, randomness)
        self._validator = validator
        self._isolated = isolated
        self._clock = clock
        self._randomness = randomness

    def advance(self, owner: str, session_id: str) -> None:
        """Does all that is still missing. Does nothing where the file is finished.

        Raises `Conflict` (signing-in-progress, moved-on); `Unavailable` where a service is down and
        the session waits to be taken up again; `Refused` where the approval led nowhere and the
        person may approve anew (approval-expired, signing-refused, stamped-too-late).
        """
        row = self._requests.get(owner, session_id)
        if row.state == State.FINISHED:
            return
        if row.state not in AFTER_APPROVAL:
            raise moved_on(row.state)
        with self._leased(row) as held:
            self._finish(self._sign(held) if held.state == State.APPROVED else held)

    def resume(self) -> int:
        """Takes up sessions that have their signature and wait for the rest; how many were finished."""
        with self._database.read() as session:
            waiting = tables.waiting(session, self._clock.now(), _RESUME_BATCH)
        finished = 0
        for row in waiting:
            try:
                self.advance(row.owner, row.id)
                finished += 1
            except TspError as error:
                log.info("session still waits: %s", error.code)
        return finished

    @contextmanager
    def _leased(self, row: SigningSession) -> Iterator[SigningSession]:
        """Holds the session for this worker; what went wrong is written down for the page."""
        if self._requests.in_hands(row):
            raise in_progress()
        held = self._step(row, lease_until=self._clock.now() + LEASE, problem=None)
        try:
            yield held
        except TspError as error:
            self._let_go(row, error.code)
            raise
        except BaseException:
            self._let_go(row, "unexpected")
            raise

    def _let_go(self, row: SigningSession, problem: str) -> None:
        with self._database.write() as session:
            now_row = session.get_one(SigningSession, row.id)
            if now_row.state in AFTER_APPROVAL:
                move(session, now_row, self._clock.now(), lease_until=None, problem=problem)

    # --- the signature --------------------------------------------------------------------------

    def _sign(self, row: SigningSession) -> SigningSession:
        """Has the engine sign, and keeps what it gave."""
        assert row.approval_sealed is not None and row.digest_signed is not None
        approval = self._requests.documents.open_text(row.approval_sealed, approval_context(row.id))
        proof = self._key.engine_proof(approval, [row.digest_signed], self._clock.now())
        try:
            results = self._engine.sign(approval, proof, [row.digest_signed])
            result = _of_digest(results, row.digest_signed)
        except _RETRY:
            raise
        except TspError as error:
            raise self._gave_up(row, error) from error
        kept = {
            "cms": _b64(result.cms),
            "certificate": _b64(result.certificate),
            "evidence": dict(result.evidence),
            "leaf": result.leaf,
        }
        return self._step(
            row,
            state=State.SIGNED,
            result_sealed=self._requests.documents.seal_json(kept, result_context(row.id)),
            evidence_id=result.evidence_id,
            approval_sealed=None,
            problem=None,
        )

    def _gave_up(self, row: SigningSession, error: TspError) -> Refused:
        """The engine will never sign for this approval: the person may approve anew."""
        expired = error.code == "approval-expired"
        state, problem = (State.CHOSEN, "approval-expired") if expired else (State.FAILED, "signing-refused")
        log.warning("engine refused: %s", error.code)
        self._step(row, state=state, problem=problem, approval_sealed=None, lease_until=None)
        return Refused(problem, PROBLEMS[problem], engine=error.code)

    # --- the file -------------------------------------------------------------------------------

    def _finish(self, row: SigningSession) -> None:
        documents = self._requests.documents
        row, result = self._stamped(row)
        assert row.byte_range is not None and row.field_name is not None and row.attempt is not None
        token, stamped_at = _unb64(result["time_stamp"]), datetime.fromisoformat(result["stamped_at"])
        material = Material()
        self._collector.collect(material, _unb64(result["certificate"]), stamped_at)
        self._collector.collect(material, _unb64(result["unit_certificate"]), stamped_at)
        first, first_length, second, second_length = row.byte_range
        frozen = pades.Prepared(
            documents.get(row.id, prepared(row.attempt)),
            row.field_name,
            (first, first_length, second, second_length),
        )
        final = pades.finish(
            self._isolated,
            frozen,
            cms.add_signature_timestamp(_unb64(result["cms"]), token),
            certificates=material.certificates,
            ocsps=material.ocsps,
            crls=material.crls,
        )
        verdict = self._validator.judge(final, frozen.field_name)
        if not verdict.passed or verdict.level not in _LONG_TERM:
            log.error("own signature did not pass: %s %s %s", verdict.indication, verdict.sub_indication, verdict.level)
            raise Unavailable("result-not-valid", PROBLEMS["result-not-valid"], sub_indication=verdict.sub_indication)
        documents.put(row.id, FINAL, final)
        now = self._clock.now()
        result |= {"level": verdict.level, "validated_at": now.isoformat()}
        self._step(
            row,
            state=State.FINISHED,
            result_sealed=documents.seal_json(result, result_context(row.id)),
            finished_at=now,
            erase_after=now + self._requests.policy.keep,
            lease_until=None,
            problem=None,
        )
        documents.erase(row.id, keep={FINAL})

    def _stamped(self, row: SigningSession) -> tuple[SigningSession, dict[str, Any]]:
        """The session's result with its signature time-stamp, asked for where it is not there yet."""
        result = self._requests.result(row)
        if "time_stamp" in result:
            return row, result
        imprint = sha256(cms.signature_value(_unb64(result["cms"]))).digest()
        nonce = int.from_bytes(self._randomness.bytes(8), "big")
        answer = self._outbound.request(
            "POST",
            self._tsa_urls[str(row.kind)],
            headers={"content-type": time_stamp.MEDIA_TYPE},
            content=time_stamp.time_stamp_request(imprint, nonce),
            max_bytes=64 * 1024,
        )
        token = time_stamp.read_reply(answer.body, imprint, nonce)
        certificate = x509.load_der_x509_certificate(_unb64(result["certificate"]))
        if token.gen_time > certificate.not_valid_after_utc:
            # EN 319 102-1: nothing proves any more that the signature was made while the certificate was valid.
            self._step(row, state=State.FAILED, problem="stamped-too-late", lease_until=None)
            raise Refused("stamped-too-late", PROBLEMS["stamped-too-late"])
        result |= {
            "time_stamp": _b64(token.der),
            "stamped_at": token.gen_time.isoformat(),
            "unit_certificate": _b64(token.certificate),
        }
        sealed = self._requests.documents.seal_json(result, result_context(row.id))
        return self._step(row, result_sealed=sealed), result

    def _step(self, row: SigningSession, **values: Any) -> SigningSession:
        with self._database.write() as session:
            if not move(session, row, self._clock.now(), **values):
                raise moved_on(row.state)
        with self._database.read() as session:
            return tables.fetch(session, row.id)


def _of_digest(results: Sequence[SignedDigest], digest: str) -> SignedDigest:
    """The engine's result for our digest, and for nothing else."""
    for result in results:
        if result.digest == digest and cms.message_digest(result.cms).hex() == digest:
            return result
    raise Refused("signature-of-other-document", "This signature was made for another document.")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text)
