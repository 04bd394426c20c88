"""Whether an approval (Signature Activation Data) may sign: the engine's own judgement.

Order of TS 119 431-1 and EN 419 241-1 SRA_SAP.2: signature of the provider's pinned key, addressee
and life, the client that holds the key the approval is bound to, level of assurance, kind, documents.
Whoever brings an approval is believed in nothing. Error facts never quote what was brought.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tsp.ca.names import PersonName
from tsp.core import jws
from tsp.core.clock import Clock
from tsp.core.errors import Invalid, Refused, TspError, Unavailable

SAD_TYPE = "sad+jwt"
PROOF_TYPE = "engine-proof+jwt"
AUDIENCE = "enkrat-engine"
KINDS = ("advanced", "advanced-qualified", "qualified")
SUBSTANTIAL, HIGH = (f"http://eidas.europa.eu/LoA/{level}" for level in ("substantial", "high"))
#: The levels that sign, by the names that the configuration uses.
LEVELS = {"substantial": SUBSTANTIAL, "high": HIGH}
#: An approval longer than that is refused before anything of it is read.
MAX_TOKEN = 512 * 1024
#: What an approval may live at the very most, whatever the configuration says.
MAX_LIFETIME = timedelta(minutes=5)

Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=300)]
HexDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[int, Field(ge=0, le=2**40)]


class _Claims(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class ApprovedDocument(_Claims):
    """One document as the person saw it (`digest_shown`) and as the signature covers it (`digest_signed`)."""

    label: Text
    pages: int = Field(ge=1)
    digest_shown: HexDigest
    digest_signed: HexDigest


class _Subject(_Claims):
    given_name: Text
    family_name: Text
    country: Word
    serial_number: Word


class _Confirmation(_Claims):
    jkt: Word


class _Sad(_Claims):
    iss: Text
    aud: Any
    jti: Word
    iat: Seconds
    exp: Seconds
    client_id: Word
    cnf: _Confirmation
    sub: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    acr: Text
    amr: list[Word] = Field(min_length=1, max_length=16)
    auth_time: Seconds
    idv: Word
    sid_sign: Word
    kind: Word
    documents: list[ApprovedDocument] = Field(min_length=1)
    subject: _Subject


class _Proof(_Claims):
    sad_hash: Word
    digests: list[HexDigest] = Field(min_length=1)
    iat: Seconds


@dataclass(frozen=True)
class ActivationPolicy:
    """What may sign here. `levels` maps each kind that is available to the acr values it accepts.

    `authentication_age` is the oldest authentication that an approval may rest on (TS 119 431-1,
    SIG-A.5-09: 30 minutes); `proof_age` the same for the client's proof; `skew` forgives clocks.
    """

    issuer: str
    levels: Mapping[str, frozenset[str]]
    audience: str = AUDIENCE
    lifetime: timedelta = MAX_LIFETIME
    authentication_age: timedelta = timedelta(minutes=30)
    proof_age: timedelta = timedelta(minutes=1)
    skew: timedelta = timedelta(seconds=5)
    max_documents: int = 100

    def __post_init__(self) -> None:
        if self.lifetime > MAX_LIFETIME:
            raise ValueError("an approval lives five minutes at most")
        if not set(self.levels) <= set(KINDS):
            raise ValueError("a kind of signature that does not exist")
        if any(not accepted <= set(LEVELS.values()) for accepted in self.levels.values()):
            raise ValueError("only substantial and high assurance sign")


def default_levels(*, qualified: bool) -> dict[str, frozenset[str]]:
    """Every kind from substantial assurance; the qualified one only where it can be made (SIG-3)."""
    kinds = KINDS if qualified else KINDS[:2]
    return dict.fromkeys(kinds, frozenset(LEVELS.values()))


@dataclass(frozen=True)
class Activation:
    """An approval that was found good, in the engine's own words. `person` must not reach any log."""

    jti: str
    sad_sha256: str
    issuer: str
    client: str
    subject_ref: str
    person: PersonName = field(repr=False)
    kind: str
    acr: str
    amr: tuple[str, ...]
    auth_time: datetime
    issued_at: datetime
    expires_at: datetime
    idv: str
    session: str
    documents: tuple[ApprovedDocument, ...] = field(repr=False)


def load_pinned_key(path: Path) -> ECKey:
    """The identity provider's approval key (public JWK); `Unavailable` (approval-key-missing) without it."""
    try:
        return _p256(ECKey.import_key(json.loads(path.read_text())))
    except (OSError, ValueError, TypeError, JoseError, Invalid) as error:
        raise Unavailable(
            "approval-key-missing",
            "The identity provider's approval key is not installed. Nothing can be signed until it is.",
            file=path.name,
        ) from error


class Activator:
    """Judges approvals under one policy and one pinned key."""

    def __init__(self, policy: ActivationPolicy, key: ECKey, clock: Clock) -> None:
        self._policy = policy
        self._key = _public(key)
        self._clock = clock

    def verify(self, approval: str, proof: str, digests: Sequence[str]) -> Activation:
        """Everything but whether it is still fresh, which `require_fresh` tells at the first use.

        Raises `Invalid` (approval-malformed), `Refused` (approval-signature, approval-audience,
        approval-expired for a life that is too long, approval-other-client, assurance-too-low,
        kind-not-available, approval-other-document).
        """
        sad = _claims(_Sad, _verified(_taken_apart(approval, SAD_TYPE), self._key))
        self._check_addressee(sad)
        self._check_life(sad)
        self._check_client(sad, approval, proof, digests)
        self._check_level(sad)
        self._check_documents(sad, digests)
        return Activation(
            jti=sad.jti,
            sad_sha256=sha256(approval.encode()).hexdigest(),
            issuer=sad.iss,
            client=sad.client_id,
            subject_ref=sad.sub,
            person=_person(sad.subject),
            kind=sad.kind,
            acr=sad.acr,
            amr=tuple(sad.amr),
            auth_time=_moment(sad.auth_time),
            issued_at=_moment(sad.iat),
            expires_at=_moment(sad.exp),
            idv=sad.idv,
            session=sad.sid_sign,
            documents=tuple(sad.documents),
        )

    def require_fresh(self, activation: Activation) -> None:
        """`Refused` (approval-expired) unless the approval and the authentication behind it are recent."""
        now = self._clock.now()
        if now >= activation.expires_at or now - activation.auth_time > self._policy.authentication_age:
            raise _expired()

    def _check_addressee(self, sad: _Sad) -> None:
        if sad.aud != self._policy.audience or sad.iss != self._policy.issuer:
            raise Refused("approval-audience", "This approval is meant for another service.")

    def _check_life(self, sad: _Sad) -> None:
        """Bounds that hold at any time: a life of five minutes at most that has begun."""
        ahead = _moment(sad.iat) - self._clock.now()
        if sad.exp - sad.iat > self._policy.lifetime.total_seconds() or sad.exp <= sad.iat or ahead > self._policy.skew:
            raise _expired()
        if sad.auth_time > sad.iat + self._policy.skew.total_seconds():
            raise _malformed("auth_time")

    def _check_client(self, sad: _Sad, approval: str, proof: str, digests: Sequence[str]) -> None:
        """The proof is signed by the key that the approval is bound to (RFC 7800, 3.1), for this very call."""
        try:
            claims, thumbprint = _proof(proof)
        except TspError as error:
            raise _other_client(error.code) from None
        expected = base64.urlsafe_b64encode(sha256(approval.encode()).digest()).rstrip(b"=").decode()
        age = self._clock.now() - _moment(claims.iat)
        if thumbprint != sad.cnf.jkt:
            raise _other_client("key")
        if claims.sad_hash != expected or claims.digests != list(digests):
            raise _other_client("content")
        if not -self._policy.skew <= age <= self._policy.proof_age:
            raise _other_client("age")

    def _check_level(self, sad: _Sad) -> None:
        if sad.kind not in KINDS:
            raise _malformed("kind")
        accepted = self._policy.levels.get(sad.kind)
        if accepted is None:
            raise Refused(
                "kind-not-available",
                "This kind of signature is not available here. Choose another kind.",
                kind=sad.kind,
            )
        if sad.acr not in accepted:
            raise Refused(
                "assurance-too-low",
                "Your account is not proven well enough for this signature. Raise its level of assurance first.",
                kind=sad.kind,
            )

    def _check_documents(self, sad: _Sad, digests: Sequence[str]) -> None:
        approved = [document.digest_signed for document in sad.documents]
        if len(approved) > self._policy.max_documents or len(set(approved)) != len(approved):
            raise _malformed("documents")
        if list(digests) != approved:
            raise Refused("approval-other-document", "These are not the documents that were approved.")


def _taken_apart(token: str, kind: str) -> jws.SignedToken:
    """The parts of a JWT of this `typ` that says that it is signed with ES256."""
    if not token.isascii() or not 0 < len(token) <= MAX_TOKEN:
        raise _malformed("size")
    try:
        parts = jws.take_apart(token)
    except (ValueError, RecursionError):
        raise _malformed("token") from None
    if parts.header.get("typ") != kind or parts.header.get("alg") != "ES256":
        raise _malformed("typ or alg")
    return parts


def _verified(parts: jws.SignedToken, key: EllipticCurvePublicKey) -> dict[str, Any]:
    """The claims of a token that this key signed."""
    try:
        return jws.claims(parts, key)
    except (ValueError, RecursionError):
        raise Refused("approval-signature", "This approval was not given by the identity provider.") from None


def _proof(token: str) -> tuple[_Proof, str]:
    """What the client says, and the thumbprint (RFC 7638) of the key that it signed with."""
    parts = _taken_apart(token, PROOF_TYPE)
    key, thumbprint = _embedded_key(parts)
    return _claims(_Proof, _verified(parts, key)), thumbprint


_Model = TypeVar("_Model", bound=_Claims)


def _claims(model: type[_Model], values: dict[str, Any]) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # The error quotes what it read: only the claim's name may go on.
        raise _malformed(str(error.errors(include_input=False)[0]["loc"][0])) from None


def _embedded_key(token: jws.SignedToken) -> tuple[EllipticCurvePublicKey, str]:
    """The public key in a token's header, and its thumbprint (RFC 7638).

    Clients are few and come often; reading a key takes as long as judging a signature.
    """
    header = token.encoded_header
    return _known_key(header) if len(header) <= jws.LONGEST_KEPT else _key_in(header)


def _key_in(encoded_header: bytes) -> tuple[EllipticCurvePublicKey, str]:
    fields = jws.read_header(encoded_header).get("jwk")
    if not isinstance(fields, dict) or "d" in fields:
        raise _malformed("jwk")
    try:
        key = ECKey.import_key(dict(fields))
        return _public(key), key.thumbprint()
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _malformed("token") from None


_known_key = lru_cache(maxsize=256)(_key_in)


def _public(key: ECKey) -> EllipticCurvePublicKey:
    public = _p256(key).public_key
    assert isinstance(public, EllipticCurvePublicKey)
    return public


def _p256(key: ECKey) -> ECKey:
    if key.curve_name != "P-256":
        raise _malformed("curve")
    return key


def _person(subject: _Subject) -> PersonName:
    return PersonName(subject.given_name, subject.family_name, subject.country, subject.serial_number)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _malformed(where: str) -> Invalid:
    return Invalid("approval-malformed", "This approval cannot be read. Start the signature again.", where=where)


def _expired() -> Refused:
    return Refused("approval-expired", "The time for this approval is over. Approve the signature again.")


def _other_client(why: str) -> Refused:
    return Refused("approval-other-client", "This approval was given to another service.", why=why)
