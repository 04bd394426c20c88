"""RSA keys of subjects: two forms of SubjectPublicKeyInfo and what makes a key unfit (RFC 4055, RFC 8017).

`rsaEncryption` may be used with any padding; `id-RSASSA-PSS` with its parameters binds the key to one hash,
the same hash in MGF1, and a salt as long as the hash (TS 119 312, 6.2.2 and 7.3).
"""

import math
from typing import NamedTuple

from tsp.ca import oids
from tsp.core.der import NULL, bit_string, children, explicit, integer, oid, read_one, seq
from tsp.core.errors import Invalid

#: TS 119 312, 6.2.2.1: 2^16 < e < 2^256 and odd.
_LEAST_EXPONENT, _MOST_EXPONENT = 2**16, 2**256
_SIZES = (3072, 4096)
#: How near each other the two primes may not be: Fermat's method finds them in so many steps (CVE-2022-26320).
_FERMAT_STEPS = 100
KEY_SENTENCE = "The key must be an uncompressed point on P-256 or P-384, or RSA of 3072 or 4096 bits."


def pss_parameters(digest_oid: str, salt_length: int) -> bytes:
    """RSASSA-PSS-params with one hash for message and mask; the trailer is the default (RFC 4055, 3.1)."""
    digest = seq(oid(digest_oid), NULL)
    mask = seq(oid(oids.MGF1), digest)
    return seq(explicit(0, digest), explicit(1, mask), explicit(2, integer(salt_length)))


#: RSASSA-PSS AlgorithmIdentifier -> name of its hash.
PSS_ALGORITHMS = {
    seq(oid(oids.RSASSA_PSS), pss_parameters(dotted, length)): name
    for name, dotted, length in (
        ("sha256", oids.SHA256, 32),
        ("sha384", oids.SHA384, 48),
        ("sha512", oids.SHA512, 64),
    )
}
_PLAIN = seq(oid(oids.RSA_ENCRYPTION), NULL)


class RsaKey(NamedTuple):
    """The numbers of a public key, its name in profiles, and the octets that the key identifier covers."""

    name: str
    modulus: int
    exponent: int
    public_key: bytes


def read_rsa_key(spki: bytes) -> RsaKey:
    """Takes a SubjectPublicKeyInfo apart, strictly; `Invalid` (key-unfit) for what is no RSA key that is certified."""
    try:
        algorithm, key = children(read_one(spki).content)
        numbers = read_one(key.content[1:])
        modulus, exponent = (int.from_bytes(value.content, "big") for value in children(numbers.content))
    except (Invalid, ValueError) as error:
        raise _unfit() from error
    if algorithm.encoded != _PLAIN and algorithm.encoded not in PSS_ALGORITHMS:
        raise _unfit()
    rebuilt = seq(integer(modulus), integer(exponent))
    if spki != seq(algorithm.encoded, bit_string(rebuilt)) or modulus.bit_length() not in _SIZES:
        raise _unfit()
    bound = "" if algorithm.encoded == _PLAIN else "-PSS"
    return RsaKey(f"RSA{modulus.bit_length()}{bound}", modulus, exponent, rebuilt)


def weakness(modulus: int, exponent: int) -> str | None:
    """Why a key must not be certified although its size is right; None where nothing is known against it.

    Looked for are bad exponents (TS 119 312, 6.2.2.1), small factors, primes that are too near each other, and
    the form of keys that ROCA made (CVE-2017-15361).
    """
    if exponent % 2 == 0 or not _LEAST_EXPONENT < exponent < _MOST_EXPONENT:
        return "exponent"
    if math.gcd(modulus, _PRIMORIAL) != 1:
        return "small-factor"
    if all(modulus % prime in residues for prime, residues in _ROCA.items()):
        return "roca"
    return "near-primes" if _near_primes(modulus) else None


def _near_primes(modulus: int) -> bool:
    root = math.isqrt(modulus - 1) + 1
    for _ in range(_FERMAT_STEPS):
        rest = root * root - modulus
        if math.isqrt(rest) ** 2 == rest:
            return True
        root += 1
    return False


def _primes(limit: int) -> list[int]:
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, math.isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(limit) if sieve[number]]


def _powers(base: int, prime: int) -> frozenset[int]:
    """The subgroup that `base` generates modulo `prime`."""
    found, power = set(), 1
    while power not in found:
        found.add(power)
        power = power * base % prime
    return frozenset(found)


_PRIMORIAL = math.prod(_primes(2**12))
# Moduli of that library are powers of 65537 modulo each small prime; other moduli hardly ever are modulo all of them.
_ROCA = {prime: _powers(65537, prime) for prime in _primes(168)[1:]}


def _unfit() -> Invalid:
    return Invalid("key-unfit", KEY_SENTENCE)
