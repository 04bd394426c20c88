"""Which algorithms and key lengths a signature may use, by date (ETSI TS 119 312 and its machine-readable list).

A row says until when something is good enough; what stands in no row is not. The date that counts
is that of the proof of existence, not that of the validation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from asn1crypto import algos, keys
from pyhanko.sign.validation.utils import CMSAlgorithmUsagePolicy
from pyhanko_certvalidator.policy_decl import AlgorithmUsageConstraint

from tsp.validate.report import SubIndication

_ALWAYS = datetime.max.replace(tzinfo=UTC)


def _until(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


#: Digest algorithms and the moment from which they no longer count.
DIGESTS: Mapping[str, datetime] = {
    "sha1": datetime(2012, 8, 1, tzinfo=UTC),
    "sha224": _until(2026),
    "sha256": _ALWAYS,
    "sha384": _ALWAYS,
    "sha512": _ALWAYS,
    "sha3_256": _ALWAYS,
    "sha3_384": _ALWAYS,
    "sha3_512": _ALWAYS,
    "shake256": _ALWAYS,  # inside Ed448 only
}

#: Kinds of key: the rows (bits from which it holds, moment from which it no longer counts), largest first.
KEYS: Mapping[str, tuple[tuple[int, datetime], ...]] = {
    "rsa": ((3000, _ALWAYS), (1900, _until(2029))),
    "ec": ((256, _ALWAYS),),
    "ed25519": ((0, _ALWAYS),),
    "ed448": ((0, _ALWAYS),),
}
_KINDS = {
    "rsassa_pkcs1v15": "rsa",
    "rsassa_pss": "rsa",
    "ecdsa": "ec",
    "ed25519": "ed25519",
    "ed448": "ed448",
}


@dataclass(frozen=True)
class AlgorithmPolicy(CMSAlgorithmUsagePolicy):
    """The tables above in the form that pyHanko asks for; `moment` absent means: must hold for ever."""

    def digest_algorithm_allowed(
        self, algo: algos.DigestAlgorithm, moment: datetime | None
    ) -> AlgorithmUsageConstraint:
        return _judge(DIGESTS.get(algo["algorithm"].native), moment)

    def signature_algorithm_allowed(
        self, algo: algos.SignedDigestAlgorithm, moment: datetime | None, public_key: keys.PublicKeyInfo | None
    ) -> AlgorithmUsageConstraint:
        kind = _kind(algo)
        if kind is None:
            return AlgorithmUsageConstraint(allowed=False)
        bits = public_key.bit_size if public_key is not None and kind in ("rsa", "ec") else 1 << 20
        key_end = next((end for least, end in KEYS[kind] if bits >= least), None)
        ends = (key_end, _digest_end(algo))
        return _judge(None if None in ends else min(end for end in ends if end is not None), moment)


def problem_of(*constraints: AlgorithmUsageConstraint) -> SubIndication | None:
    """The sub-indication of the first that is not allowed; an earlier proof could repair what once was allowed."""
    for constraint in constraints:
        if not constraint.allowed:
            once = constraint.not_allowed_after is not None
            return SubIndication.CRYPTO_CONSTRAINTS_FAILURE_NO_POE if once else SubIndication.CRYPTO_CONSTRAINTS_FAILURE
    return None


def _kind(algo: algos.SignedDigestAlgorithm) -> str | None:
    try:
        return _KINDS.get(algo.signature_algo)
    except ValueError:
        return None


def _digest_end(algo: algos.SignedDigestAlgorithm) -> datetime | None:
    """Until when the digest holds that the signature algorithm names; one that names none leaves it to others."""
    try:
        return DIGESTS.get(algo.hash_algo)
    except (ValueError, TypeError):
        return _ALWAYS


def _judge(end: datetime | None, moment: datetime | None) -> AlgorithmUsageConstraint:
    if end is None:
        return AlgorithmUsageConstraint(allowed=False)
    return AlgorithmUsageConstraint(allowed=(moment or _ALWAYS) < end or end == _ALWAYS, not_allowed_after=end)
