"""Key pairs inside a token: lasting ones, and one-time keys that sign once and are gone."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, exceptions

from hsm.direct import PROTECTION
from hsm.encoding import CURVE, ecdsa_signature, public_key_info
from hsm.errors import DestructionFailed, HsmError, KeySpent, KeyUnfit
from hsm.pool import STALE, PooledSession, SessionPool
from hsm.spec import KeySpec

_Result = TypeVar("_Result")

_DIGEST_LENGTHS = (32, 48, 64)
_SIGN_AND_VERIFY = MechanismFlag.SIGN | MechanismFlag.VERIFY
_READ_BACK = {
    Attribute.LOCAL: "local",
    Attribute.SENSITIVE: "sensitive",
    Attribute.ALWAYS_SENSITIVE: "always_sensitive",
    Attribute.EXTRACTABLE: "extractable",
    Attribute.NEVER_EXTRACTABLE: "never_extractable",
    Attribute.TOKEN: "token",
}
_READ_BACK_KINDS = tuple(_READ_BACK)
# SoftHSM and some devices fail a key generation once in a great while under load, without cause.
_RARE = (exceptions.GeneralError, exceptions.TemplateInconsistent)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the token itself says of a private key (PKCS #11 v2.40 sections 4.8 and 4.9)."""

    local: bool
    sensitive: bool
    always_sensitive: bool
    extractable: bool
    never_extractable: bool
    token: bool

    @property
    def born_and_kept_inside(self) -> bool:
        """True for a key that was generated in the token and can never have left it."""
        return (
            self.local and self.sensitive and self.always_sensitive and self.never_extractable and not self.extractable
        )


@dataclass(frozen=True, slots=True)
class DestructionRecord:
    """How a one-time key ended: the outcome of C_DestroyObject and of the second look."""

    destroyed_call_ok: bool
    found_after: int
    checked: bool

    @property
    def proven(self) -> bool:
        """True where the token reported the destruction and another session finds nothing."""
        return self.destroyed_call_ok and self.checked and self.found_after == 0


@dataclass(frozen=True, slots=True)
class KeyHandleInfo:
    """A private key that the token knows at this moment."""

    label: str
    id: bytes
    on_token: bool


class SigningKey:
    """A lasting key pair in the token, safe to use from several threads."""

    def __init__(
        self, label: str, spec: KeySpec, public_spki: bytes, attributes: Attributes, pool: SessionPool
    ) -> None:
        self.label = label
        self.spec = spec
        self.public_spki = public_spki
        self.attributes = attributes
        self._pool = pool

    def sign_digest(self, digest: bytes) -> bytes:
        """The DER Ecdsa-Sig-Value over a SHA-256, SHA-384 or SHA-512 digest. EC keys only."""
        if self.spec is KeySpec.ED25519:
            raise ValueError("Ed25519 signs messages, not digests")
        _require_digest(digest)
        kind = ObjectClass.PRIVATE_KEY
        with self._pool.borrow() as session:
            try:
                raw = session.direct.sign(session.handle(self.label, kind), digest)
            except STALE:
                raw = session.direct.sign(session.handle(self.label, kind, afresh=True), digest)
        return ecdsa_signature(raw)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of a pure Ed25519 signature (RFC 8032). Ed25519 keys only."""
        if self.spec is not KeySpec.ED25519:
            raise ValueError("EC keys sign digests")
        return with_key(
            self._pool,
            self.label,
            ObjectClass.PRIVATE_KEY,
            lambda key: bytes(key.sign(message, mechanism=Mechanism.EDDSA)),
        )


class OneTimeKey:
    """A key pair that exists only as a session object, signs one digest and is destroyed.

    Made by `Token.one_time_key`, which destroys it whatever happens in its block.
    """

    def __init__(self, spec: KeySpec, key_id: bytes, session: PooledSession, looks: SessionPool) -> None:
        if spec is KeySpec.ED25519:
            raise ValueError("one-time keys are EC keys")
        self.spec = spec
        self.id = key_id
        self.public_spki = b""
        self.record: DestructionRecord | None = None
        self._session = session
        self._looks = looks
        self._calls = session.direct
        # Handles; none before the pair is made and after it is gone.
        self._public: int | None = None
        self._private: int | None = None
        # Taking an element out of a list is atomic: two threads cannot both get the one permission.
        self._permission = [True]

    def generate(self) -> None:
        """Makes the pair and reads back what the token says of it. `KeyUnfit` if that is not enough."""
        self._public, self._private = public, private = _forgiving(
            self._session, self.id, lambda: self._calls.generate_pair(CURVE[self.spec], self.id)
        )
        self.public_spki = public_key_info(self.spec, self._calls.point(public))
        self.attributes = self._read_attributes(private)
        if self.attributes.token or not self.attributes.born_and_kept_inside:
            raise KeyUnfit(
                "The token made a one-time key without the protection that was demanded. Check the token's policy."
            )

    def sign_digest(self, digest: bytes) -> bytes:
        """The DER Ecdsa-Sig-Value over `digest`. The second call raises `KeySpent`, also after a failure."""
        _require_digest(digest)
        try:
            self._permission.pop()
        except IndexError:
            raise KeySpent("A one-time key signs once. Make a new key for the next signature.") from None
        try:
            assert self._private is not None, "the permission ends with the key"
            return ecdsa_signature(self._calls.sign(self._private, digest))
        except pkcs11.PKCS11Error as error:
            self._session.spoiled = True
            raise self._looks.named(error) from error

    def destroy(self) -> DestructionRecord:
        """Destroys both halves, then looks for them from another session by CKA_ID. Idempotent.

        Raises `DestructionFailed` unless the token reported the destruction and nothing is found;
        the session is then closed, which ends every session object it made.
        """
        if self.record is None:
            self._permission.clear()
            done = self._destroy_objects()
            found, checked = self._look()
            self.record = DestructionRecord(done, found, checked)
            self._private = self._public = None
        if not self.record.proven:
            self._session.spoiled = True
            raise DestructionFailed(
                "It is not certain that a one-time key was destroyed. Its session is closed; stop signing, "
                "look into the token's log and check that no private key is alive before going on.",
                self.record,
            )
        return self.record

    def _destroy_objects(self) -> bool:
        """True where every half is reported as destroyed; one failure does not spare the other half."""
        done = True
        for half in (self._private, self._public):
            try:
                if half is not None:
                    self._calls.destroy(half)
            except pkcs11.PKCS11Error:
                done = False
        return done

    def _look(self) -> tuple[int, bool]:
        try:
            with self._looks.borrow() as other:
                return other.direct.count(self.id), True
        except HsmError:
            return 0, False

    def _read_attributes(self, private: int) -> Attributes:
        try:
            return Attributes(*self._calls.flags(private, _READ_BACK_KINDS))
        except (exceptions.AttributeTypeInvalid, exceptions.AttributeSensitive):
            raise _silent() from None


def generate_pair(session: PooledSession, spec: KeySpec, label: str, key_id: bytes) -> None:
    """Makes a lasting pair in the token; nothing is left behind where it fails."""
    edwards = spec is KeySpec.ED25519
    parameters = session.raw.create_domain_parameters(
        KeyType.EC_EDWARDS if edwards else KeyType.EC, {Attribute.EC_PARAMS: CURVE[spec]}, local=True
    )
    _forgiving(
        session,
        key_id,
        lambda: parameters.generate_keypair(
            id=key_id,
            label=label,
            store=True,
            capabilities=_SIGN_AND_VERIFY,
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN if edwards else Mechanism.EC_KEY_PAIR_GEN,
            private_template=PROTECTION,
        ),
    )


def _forgiving(session: PooledSession, key_id: bytes, make: Callable[[], _Result]) -> _Result:
    """Makes a pair, once more after a rare failure; nothing is left behind where that fails too."""
    try:
        try:
            return make()
        except _RARE:
            sweep(session, key_id)
            return make()
    except BaseException:
        # The first error is the one to tell; what stays behind all the same dies with the session.
        session.spoiled = True
        with suppress(pkcs11.PKCS11Error):
            sweep(session, key_id)
        raise


def sweep(session: PooledSession, key_id: bytes) -> None:
    """Destroys whatever the token knows under that CKA_ID."""
    for found in session.find({Attribute.ID: key_id}):
        found.destroy()


def read_attributes(private: Any) -> Attributes:
    """The token's own word on a private key."""
    values = private.get_attributes(list(_READ_BACK))
    try:
        return Attributes(**{name: bool(values[attribute]) for attribute, name in _READ_BACK.items()})
    except KeyError:
        raise _silent() from None


def _silent() -> KeyUnfit:
    return KeyUnfit("The token does not say how a private key is protected. Use a token that does.")


def with_key(pool: SessionPool, label: str, kind: ObjectClass, use: Callable[[Any], _Result]) -> _Result:
    """Runs `use` with the named key in a session of its own; a handle gone stale is looked up again once."""
    with pool.borrow() as session:
        try:
            return use(session.key(label, kind))
        except STALE:
            return use(session.key(label, kind, afresh=True))


def _require_digest(digest: bytes) -> None:
    if len(digest) not in _DIGEST_LENGTHS:
        raise ValueError("a digest has 32, 48 or 64 bytes")
