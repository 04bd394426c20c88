"""The artefacts of the ceremony on disk: PEM certificates and CRLs (DER) in one directory."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from asn1crypto import pem, x509

from tsp.ca import oids
from tsp.ca.certificate import IssuerFacts
from tsp.ca.crl_reading import crl_facts
from tsp.ca.generations import LAST, generation_name, responder_name, role_of
from tsp.ca.plan import ENTRIES, ISSUERS, SUBSCRIBER_ISSUERS
from tsp.core.der import implicit, integer, oid, seq, set_of, tlv
from tsp.core.errors import Invalid, NotFound, Unavailable

CRL_FILE = "root.crl"
TRANSCRIPT_FILE = "transcript.json"
RENEWALS_FILE = "renewals.json"


def roll_over_file(name: str) -> str:
    """The transcript of the roll-over that made this generation."""
    return f"roll-over-{name}.json"


def read_roll_overs(directory: Path) -> dict[str, dict[str, Any]]:
    """The transcripts of the roll-overs that were completed, by the name of the new generation, in order.

    Raises `Unavailable` (ca-store-damaged) where one cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for role in ISSUERS:
        for number in range(2, LAST + 1):
            name = generation_name(role, number)
            path = directory / roll_over_file(name)
            if not path.exists():
                break
            try:
                transcript = json.loads(path.read_bytes())
                if datetime.fromisoformat(transcript["use_from"]).tzinfo is None:
                    raise ValueError("a time without its zone")
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise _damaged(path.name) from error
            found[name] = transcript
    return found


def to_pem(certificate: bytes) -> bytes:
    """A DER certificate as PEM (RFC 7468, 5)."""
    return bytes(pem.armor("CERTIFICATE", certificate))


def from_pem(data: bytes) -> bytes:
    """The DER certificate in a PEM file; ValueError where there is none."""
    kind, _, der = pem.unarmor(data)
    if kind != "CERTIFICATE":
        raise ValueError("not a certificate")
    return bytes(der)


def certs_only(certificates: list[bytes]) -> bytes:
    """A certs-only message: SignedData without content and signers (RFC 8551, 3.8)."""
    data = seq(
        integer(1),
        set_of(),
        seq(oid(oids.DATA)),
        implicit(0, set_of(*certificates)),
        set_of(),
    )
    return seq(oid(oids.SIGNED_DATA), tlv(0xA0, data))


class CaStore:
    """What the ceremony made, as DER, read when the store is made.

    Raises `NotFound` (ceremony-missing) where there was no ceremony yet, and `Unavailable`
    (ca-store-damaged) where a file is not what its name says.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if not (directory / TRANSCRIPT_FILE).is_file():
            raise NotFound("ceremony-missing", "There are no authorities yet. Run the key ceremony first.")
        self._roll_overs = read_roll_overs(directory)
        later = [entry for name in self._roll_overs for entry in (name, responder_name(name))]
        #: Every certificate by name: those of the ceremony, then those of the roll-overs.
        self.names = (*ENTRIES, *later)
        self._certificates = {name: self._certificate(name) for name in self.names}
        self.root_crl = self._crl(CRL_FILE)

    @property
    def root(self) -> bytes:
        """The root's own certificate."""
        return self._certificates["root"]

    @property
    def infrastructure(self) -> bytes:
        """The certificate of the authority for the provider's own services."""
        return self._certificates["infrastructure"]

    @property
    def tsu(self) -> bytes:
        """The certificate of the time-stamping unit."""
        return self._certificates["tsu"]

    @property
    def qtsu(self) -> bytes:
        """The certificate of the unit for qualified time-stamps."""
        return self._certificates["qtsu"]

    @property
    def ocsp(self) -> dict[str, bytes]:
        """The responders' certificates by the name of the issuer that they answer for, every generation."""
        return {issuer: self._certificates[responder_name(issuer)] for issuer in self.issuers}

    @property
    def issuers(self) -> tuple[str, ...]:
        """The names of all authorities below the root, every generation."""
        return (*ISSUERS, *self._roll_overs)

    @property
    def subscriber_issuers(self) -> tuple[str, ...]:
        """Those of them that certify people and organisations: the ones with a CRL of their own."""
        return tuple(name for name in self.issuers if role_of(name) in SUBSCRIBER_ISSUERS)

    def newest(self, role: str) -> str:
        """The name of the last generation of a role, whether it certifies already or not."""
        return [name for name in self.issuers if role_of(name) == role][-1]

    def in_use(self, now: datetime) -> dict[str, str]:
        """For each role the name of the generation that certifies at `now`."""
        used = {issuer: issuer for issuer in ISSUERS}
        for name, transcript in self._roll_overs.items():
            if datetime.fromisoformat(transcript["use_from"]) <= now:
                used[role_of(name)] = name
        return used

    def certificate(self, name: str) -> bytes:
        """The certificate of one entry of the plan; KeyError for any other name."""
        return self._certificates[name]

    def facts(self, issuer: str) -> IssuerFacts:
        """What of an issuer goes into the certificates that it signs."""
        return IssuerFacts.of(issuer, self._certificates[issuer])

    def chain(self, name: str) -> list[bytes]:
        """The certificates from one entry up to the root, the entry's own first."""
        if name == "root":
            steps = [name]
        elif name in self.issuers:
            steps = [name, "root"]
        else:
            steps = [name, name.removeprefix("ocsp-") if name.startswith("ocsp-") else "infrastructure", "root"]
        return [self._certificates[step] for step in steps]

    def _certificate(self, name: str) -> bytes:
        try:
            der = from_pem((self.directory / f"{name}.pem").read_bytes())
            x509.Certificate.load(der, strict=True).native  # noqa: B018  (reads every field)
        except (OSError, ValueError) as error:
            raise _damaged(f"{name}.pem") from error
        return der

    def crl(self, issuer: str) -> bytes | None:
        """The CRL (DER) that this issuer publishes now; None where it has published none yet."""
        if issuer == "root":
            return self.root_crl
        file = f"{issuer}.crl"
        return self._crl(file) if (self.directory / file).exists() else None

    def _crl(self, file: str) -> bytes:
        try:
            der = (self.directory / file).read_bytes()
            crl_facts(der)
        except (OSError, Invalid) as error:
            raise _damaged(file) from error
        return der


def sha256_hex(data: bytes) -> str:
    """The digest under which the transcript knows an artefact."""
    return hashlib.sha256(data).hexdigest()


def _damaged(file: str) -> Unavailable:
    return Unavailable(
        "ca-store-damaged", f"{file} is missing or damaged. Restore it from the ceremony's copy.", file=file
    )
