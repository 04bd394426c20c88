"""The life of a one-time key: made, certified, used once, destroyed, looked for (SIG-1, EVD-5).

One call of `OneTimeSigner.sign` is one life. Whatever ends the call, the key is gone: it is a session
object that the token destroys when the block is left, and that dies with the process.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from hsm import Attributes, DestructionRecord, HsmError, KeyHandleInfo, OneTimeKey, TokenState
from hsm.errors import DestructionFailed
from tsp.ca.authority import Authority, IssuedCertificate, PreparedCertificate
from tsp.ca.certificate import IssuerFacts
from tsp.ca.lint import PublicKey
from tsp.ca.names import PersonName
from tsp.core import steps
from tsp.core.clock import Clock
from tsp.core.errors import Unavailable
from tsp.formats import cms

_ECDSA_OVER_DIGEST = ECDSA(Prehashed(SHA256()))


class Step(StrEnum):
    """What happens to a signature, in order. A fault may strike after any of them."""

    RESERVED = "reserved"  # the intent is durable, the token untouched
    GENERATED = "generated"
    PREPARED = "prepared"  # the certificate is decided, its serial number durable
    CERTIFIED = "certified"
    ATTRIBUTES_BUILT = "attributes-built"
    SIGNED = "signed"
    VERIFIED = "verified"
    DESTROYED = "destroyed"
    CHECKED = "checked"  # looked for from another session, not found
    RECORDED = "recorded"  # the outcome is written, its transaction open
    COMMITTED = "committed"


STEPS = tuple(Step)
#: Steps that are repeated for each document.
KEY_STEPS = STEPS[1:9]

OnStep = steps.OnStep[Step]
#: Gets each decided certificate with its public key.
OnPlanned = Callable[[Sequence[tuple[PreparedCertificate, bytes]]], None]


class OneTimeToken(Protocol):
    """The part of `hsm.Token` that the engine uses."""

    def one_time_key(self) -> AbstractContextManager[OneTimeKey]: ...

    def one_time_keys(self, count: int) -> AbstractContextManager[list[OneTimeKey]]: ...

    def private_keys(self) -> list[KeyHandleInfo]: ...

    def state(self) -> TokenState: ...


@dataclass(frozen=True)
class Order:
    """What one key is to sign: a document's digest (SHA-256), for a person, with a kind of certificate."""

    profile: str
    person: PersonName
    digest: bytes


@dataclass(frozen=True)
class SignedOnce:
    """Everything that is left of a one-time key, with the moment of each step."""

    issued: IssuedCertificate
    public_spki: bytes
    attributes: Attributes
    destruction: DestructionRecord
    signed_attributes: bytes
    signature: bytes
    cms: bytes
    times: dict[Step, datetime]


class OneTimeSigner:
    """Makes one-time keys in `token` and has `authority` certify them.

    `chains` are the certificates (DER) that go into each signature, by the name of its certificate's issuer, whose
    own comes first.
    """

    def __init__(
        self, token: OneTimeToken, authority: Authority, chains: Mapping[str, Sequence[bytes]], clock: Clock
    ) -> None:
        self.token = token
        self.authority = authority
        self._chains = chains
        self._clock = clock

    @cached_property
    def token_facts(self) -> TokenState:
        """Maker, model and serial number of the token: an open one stays the same, so it is asked once."""
        return self.token.state()

    def look_ahead(self, profiles: Iterable[str]) -> None:
        """Has the authority look at the usual shape of each profile now, so that no key waits for that later.

        Nothing is issued; the public key in the twin is the authority's own.
        """
        nobody = PersonName("Nobody", "Nobody", "ZZ", "0" * 26)
        role, chain = next(iter(self._chains.items()))
        spki = IssuerFacts.of(role, chain[0]).spki
        for profile in profiles:
            if self.authority.offers(profile):
                self.authority.prepare(profile, nobody, spki, now=self._clock.now())

    def sign(
        self, order: Order, *, on_planned: Callable[[PreparedCertificate, bytes], None], on_step: OnStep
    ) -> SignedOnce:
        """One key's whole life; see `sign_together`."""
        return self.sign_together([order], on_planned=lambda planned: on_planned(*planned[0]), on_step=on_step)[0]

    def sign_together(self, orders: Sequence[Order], *, on_planned: OnPlanned, on_step: OnStep) -> list[SignedOnce]:
        """The lives of a few keys, one for each order, that exist at the same time.

        `on_planned` gets the decided certificates and the public keys and makes them durable, in one
        go, before the authority signs the first. Raises `Unavailable`: hsm-unavailable,
        key-not-destroyed, signature-unsound, and what the authority raises. Nothing of failed lives is
        returned.
        """
        lives = [_Life(self._clock, on_step) for _ in orders]
        try:
            with self._keys(len(orders)) as keys:
                for key, life in zip(keys, lives, strict=True):
                    _require_protected(key.attributes)
                    life.step(Step.GENERATED)
                prepared = [
                    self.authority.prepare(order.profile, order.person, key.public_spki, now=self._clock.now())
                    for order, key in zip(orders, keys, strict=True)
                ]
                on_planned([(one, key.public_spki) for one, key in zip(prepared, keys, strict=True)])
                made = [
                    self._use(order, key, one, life)
                    for order, key, one, life in zip(orders, keys, prepared, lives, strict=True)
                ]
        except DestructionFailed as error:
            raise _end_not_proven(error.code) from error
        except HsmError as error:
            raise hsm_unavailable(error) from error
        except Unavailable as error:
            # To a caller it is one device, whichever key of it did not answer.
            if isinstance(error.__cause__, HsmError):
                raise hsm_unavailable(error.__cause__) from error
            raise
        for one, life in zip(made, lives, strict=True):
            if not one.destruction.proven:
                raise _end_not_proven("found after")
            life.step(Step.CHECKED)
        return made

    @contextmanager
    def _keys(self, count: int) -> Iterator[Sequence[OneTimeKey]]:
        if count == 1:
            with self.token.one_time_key() as key:
                yield [key]
        else:
            with self.token.one_time_keys(count) as keys:
                yield keys

    def _use(self, order: Order, key: OneTimeKey, prepared: PreparedCertificate, life: "_Life") -> SignedOnce:
        """From the planned certificate to the key's end."""
        life.step(Step.PREPARED)
        issued = self._certify(prepared, life)
        attributes = cms.signed_attributes(order.digest, issued.der)
        life.step(Step.ATTRIBUTES_BUILT)
        digest = sha256(attributes).digest()
        signature = key.sign_digest(digest)
        life.step(Step.SIGNED)
        _verify(issued.public, digest, signature)
        life.step(Step.VERIFIED)
        record = key.destroy()
        life.step(Step.DESTROYED)
        return SignedOnce(
            issued=issued,
            public_spki=key.public_spki,
            attributes=key.attributes,
            destruction=record,
            signed_attributes=attributes,
            signature=signature,
            cms=cms.signed_data(attributes, signature, issued.der, self._chains[issued.issuer]),
            times=life.times,
        )

    def _certify(self, prepared: PreparedCertificate, life: "_Life") -> IssuedCertificate:
        """The certificate, valid before its key is used (TS 119 431-1, GEN-6.2.1-08)."""
        issued = self.authority.issue(prepared)
        life.step(Step.CERTIFIED)
        if not issued.not_before <= self._clock.now() <= issued.not_after:
            raise Unavailable(
                "clock-unsound",
                "The service's clock is being corrected. Nothing was signed; please try again in a moment.",
            )
        return issued


class _Life:
    """Notes the moment of each step, then tells it."""

    def __init__(self, clock: Clock, on_step: OnStep) -> None:
        self._clock = clock
        self._on_step = on_step
        self.times: dict[Step, datetime] = {}

    def step(self, step: Step) -> None:
        self.times[step] = self._clock.now()
        self._on_step(step)


def hsm_unavailable(error: HsmError) -> Unavailable:
    """What a caller is told of a token that does not do its work."""
    return Unavailable(
        "hsm-unavailable",
        "The signing device does not answer. Nothing was signed; please try again later.",
        cause=error.code,
    )


def _end_not_proven(cause: str) -> Unavailable:
    return Unavailable(
        "key-not-destroyed",
        "The signature was stopped, because the end of its key is not proven. Nothing was signed.",
        cause=cause,
    )


def _require_protected(attributes: Attributes) -> None:
    """EN 419 241-2 and EVD-5: made in the token, never extractable, and no lasting object."""
    if attributes.token or not attributes.born_and_kept_inside:
        raise Unavailable(
            "key-unprotected",
            "The signing device does not protect keys as it must. Nothing was signed.",
        )


def _verify(certified: PublicKey, digest: bytes, signature: bytes) -> None:
    """With the key as the certificate gives it: whoever validates the signature has no other."""
    assert isinstance(certified, EllipticCurvePublicKey), "one-time keys are EC keys"
    try:
        certified.verify(signature, digest, _ECDSA_OVER_DIGEST)
    except InvalidSignature:
        raise Unavailable(
            "signature-unsound",
            "The signing device made a signature that does not verify. It was thrown away; please try again.",
        ) from None
