"""One publication of a list, in a process of its own: seconds, peak memory and what came out, as JSON."""

import json
import resource
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsp.ca.authority import IssuingKey
from tsp.ca.certificate import IssuerFacts, key_identifier
from tsp.ca.crl_reading import open_crl
from tsp.ca.names import ServiceName
from tsp.ca.publication import CrlPublisher
from tsp.core.clock import SystemClock
from tsp.core.database import Database

#: The role that `filling` gives to the issuer of its certificates.
ISSUER = "qualified"


class _SoftKey:
    """One signature a list: where its key lives is not what is measured."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign_digest(self, digest: bytes) -> bytes:
        return self._key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def main(place: Path, url: str) -> dict[str, float]:
    """Publishes the list of the database at `url` into a new directory in `place`."""
    key = _SoftKey()
    name = ServiceName("SI", "Enkrat TEST d.o.o.", "VATSI-10000003", "Enkrat TEST CA").der()
    since = datetime(2025, 1, 1, tzinfo=UTC)
    facts = IssuerFacts(
        ISSUER, name, key_identifier(key.public_spki), key.public_spki, since, since + timedelta(days=9 * 365)
    )
    database = Database(url)
    with tempfile.TemporaryDirectory(dir=place) as made:
        publisher = CrlPublisher(Path(made), {ISSUER: IssuingKey(facts, key)}, database, SystemClock())
        begin = perf_counter()
        published = publisher.publish()
        seconds = perf_counter() - begin
        assert published == [ISSUER], "nothing was published"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        file = Path(made) / f"{ISSUER}.crl"
        with open_crl(file) as reading:
            entries = reading.count()
        octets = file.stat().st_size
    database.close()
    return {"seconds": seconds, "peak": peak, "entries": entries, "octets": octets}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
