"""The rules of the time-stamping authority: who gets a time-stamp, and what is checked before."""

import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from hsm.errors import HsmError
from tsp.ca.units import key_period
from tsp.core import der
from tsp.core.errors import Invalid, TspError, Unavailable
from tsp.core.randomness import Randomness, new_id
from tsp.tsa.journal import Given
from tsp.tsa.token import (
    FAILURES,
    QUALIFIED_CLAIM,
    Failure,
    TimeStampRequest,
    TokenTemplate,
    accuracy,
    granted,
    parse_request,
    rejection,
    rejection_of,
    tst_info,
    tsu_certificate,
)

#: RFC 3161, 2.4.2 allows 160 bits; 127 random ones are unique over restarts, machines and units.
SERIAL_OCTETS: Final = 16
_log = logging.getLogger(__name__)


class Signer(Protocol):
    """The unit's key, as `hsm.SigningKey` is one."""

    @property
    def public_spki(self) -> bytes: ...

    def sign_digest(self, digest: bytes) -> bytes: ...


class TimeKeeper(Protocol):
    """Where the time comes from, as `clock_guard.ClockGuard` and `time_guard.TimeGuard` are one."""

    def now(self) -> datetime: ...

    def trouble(self) -> str: ...


class Recorder(Protocol):
    """Where time-stamps become durable, as `journal.Journal` is one."""

    def record(self, given: Given) -> None: ...


class Draft(NamedTuple):
    """A reply, and what must be on record before it leaves: nothing for a rejection."""

    reply: bytes
    given: Given | None = None


class TimeStampAuthority:
    """One time-stamping unit: one key, one certificate, one policy (EN 319 421, TIS-7.6.2-08).

    `certificate` and `chain` (its issuers, without the root) are DER. `policy` is a dotted OID, `accuracy_ms`
    at most 1000. `qualified` puts the claim of EN 319 422, 9.1 into every token: a unit gives either qualified
    time-stamps or others, never both (TIS-8.2-01). Raises `Invalid` where key and certificate do not fit.
    """

    def __init__(
        self,
        *,
        signer: Signer,
        certificate: bytes,
        chain: Sequence[bytes],
        policy: str,
        accuracy_ms: int,
        guard: TimeKeeper,
        randomness: Randomness,
        journal: Recorder,
        qualified: bool = False,
    ) -> None:
        self._unit = _UnitKey(signer, certificate, chain)
        self._policy = der.oid(policy)
        self._accuracy = accuracy(accuracy_ms)
        self._qualified = qualified
        self._extensions = QUALIFIED_CLAIM if qualified else b""
        self._guard = guard
        self._randomness = randomness
        self._journal = journal

    @property
    def unit(self) -> str:
        """The name in the records of the key that signs now."""
        return self._unit.name

    def take_up(self, signer: Signer, certificate: bytes, chain: Sequence[bytes]) -> None:
        """From now on this key signs. Raises `Invalid`, and leaves everything as it was, where the two do not fit."""
        self._unit = _UnitKey(signer, certificate, chain)

    def answer(self, request: bytes) -> bytes:
        """A TimeStampResp for any octets: a token that is on record, or a rejection. Never raises."""
        draft = self.draft(request)
        if draft.given is None:
            return draft.reply
        try:
            self._journal.record(draft.given)
        except Exception as error:  # noqa: BLE001  (the edge, as in `draft`)
            return self.refusal(error)
        return draft.reply

    def draft(self, request: bytes) -> "Draft":
        """The same, with a token that is not on record yet: it must not leave before it is. Never raises."""
        try:
            token, given = self.stamp(parse_request(request))
            return Draft(granted(token), given)
        except Exception as error:  # noqa: BLE001  (the edge: whatever it is, it is told in the protocol's words)
            return Draft(self.refusal(error))

    def refusal(self, error: Exception) -> bytes:
        """The rejection that tells an error with its PKIFailureInfo; one that is not ours by a reference only."""
        if not isinstance(error, TspError):
            reference = new_id(self._randomness)
            _log.error("unexpected error, reference %s", reference, exc_info=error)
            return rejection(Failure.SYSTEM_FAILURE, f"The service failed. Reference: {reference}")
        if error.code not in FAILURES:
            _log.error("no time-stamp given: %s", error.code)
        return rejection_of(error)

    def stamp(self, request: TimeStampRequest) -> tuple[bytes, Given]:
        """The TimeStampToken, and what has to be on record before it leaves.

        Raises `Invalid` (timestamp-unaccepted-policy; timestamp-information-unavailable where a qualified one is
        asked for and not given here), `Unavailable` where time, key or token fail.
        """
        if request.policy not in (None, self._policy):
            raise Invalid("timestamp-unaccepted-policy", "This service does not stamp under the requested policy.")
        if request.qualified_wanted and not self._qualified:
            raise Invalid(
                "timestamp-information-unavailable",
                "This service gives no qualified time-stamps. Ask the qualified service at its own address.",
            )
        unit, moment = self._unit, self._guard.now()
        unit.require_usable(moment)
        # One bit less than 128, so that the encoded serial number has 16 octets and is positive.
        serial = int.from_bytes(self._randomness.bytes(SERIAL_OCTETS), "big") >> 1
        info = tst_info(
            request,
            policy=self._policy,
            serial=serial,
            moment=moment,
            encoded_accuracy=self._accuracy,
            extensions=self._extensions,
        )
        attributes = unit.template.signed_attributes(info)
        token = unit.template.token(
            info, attributes, unit.sign(attributes), with_certificates=request.certificate_wanted
        )
        token_digest = hashlib.sha256(token).digest()
        return token, Given(serial, unit.name, moment, request.hash_name, request.digest, token_digest)


class _UnitKey:
    """One key with its certificate."""

    def __init__(self, signer: Signer, certificate: bytes, chain: Sequence[bytes]) -> None:
        self.template = TokenTemplate(certificate, chain)
        parsed = tsu_certificate(certificate)
        if parsed.public_key.dump() != signer.public_spki:
            raise Invalid(
                "tsu-certificate-other-key",
                "The certificate of the time-stamping unit is for another key than the token holds. Put the "
                "certificate of this key in its place, or open the right token.",
            )
        self.name = unit_of(certificate)
        self._usable_from, self._usable_to = key_period(parsed)
        self._signer = signer

    def sign(self, attributes: bytes) -> bytes:
        """The signature over the signed attributes."""
        try:
            return self._signer.sign_digest(hashlib.new(self.template.hash_name, attributes).digest())
        except HsmError as error:
            _log.error("%s", error.advice)
            raise Unavailable(
                error.code, "The service is briefly unavailable. Nothing was lost; please try again in a moment."
            ) from error

    def require_usable(self, moment: datetime) -> None:
        """EN 319 421, TIS-7.7.1-09: no time-stamps before the certificate's begin or after the key's end."""
        if not self._usable_from <= moment <= self._usable_to:
            raise Unavailable(
                "tsu-key-expired",
                "The key of this time-stamping unit is not in its period of use. The service needs a new one.",
                unit=self.name,
            )


def unit_of(certificate: bytes) -> str:
    """The name of a unit in the records: the serial number of its certificate, hexadecimal."""
    return f"{tsu_certificate(certificate).serial_number:x}"
