"""What one wing offers, in the shape that another asks for: wings that do not know each other meet here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509

from tsp.audit.signed_data import Wrong, check_time_stamp
from tsp.ca.commands import CeremonyContext
from tsp.ca.revocation import Revocations
from tsp.ca.revocation_commands import RevocationContext
from tsp.core.errors import Unavailable
from tsp.core.outbound import Outbound
from tsp.core.randomness import Randomness
from tsp.engine.protocol import EngineClient, SignatureResult, SignRequest
from tsp.formats import time_stamp


class EnginePort:
    """The signing engine behind its sockets, as the signing site sees it (`tsp.sign.ports.SigningPort`)."""

    def __init__(self, socket: Path) -> None:
        self._client = EngineClient(socket)

    def sign(self, approval: str, proof: str, digests: Sequence[str]) -> list[SignatureResult]:
        """Signs what the approval names."""
        return self._client.sign(SignRequest(approval, proof, digests))


class CheckpointAuthority:
    """The time-stamping authority of the log's checkpoints (`tsp.audit.time_stamps.StampingPort`).

    `trust` is a PEM file with the roots that its tokens lead to.
    """

    def __init__(self, url: str, trust: Path, outbound: Outbound, randomness: Randomness) -> None:
        self._url = url
        self._roots = x509.load_pem_x509_certificates(trust.read_bytes())
        self._outbound = outbound
        self._randomness = randomness

    def stamp(self, data: bytes) -> tuple[bytes, datetime]:
        """A token over `data` that leads to a trusted root; `Unavailable` (time-stamp-refused, time-stamp-unsound)."""
        imprint, nonce = sha256(data).digest(), int.from_bytes(self._randomness.bytes(8), "big")
        answer = self._outbound.request(
            "POST",
            self._url,
            headers={"content-type": time_stamp.MEDIA_TYPE},
            content=time_stamp.time_stamp_request(imprint, nonce),
            max_bytes=64 * 1024,
        )
        token = time_stamp.read_reply(answer.body, imprint, nonce)
        try:
            at, _unit = check_time_stamp(token.der, data, self._roots)
        except Wrong as error:
            raise Unavailable(
                "time-stamp-unsound", "The time-stamp on the log does not lead to a trusted root.", cause=str(error)
            ) from error
        return token.der, at


def revocation_context(ceremony: CeremonyContext) -> RevocationContext:
    """What the provider's revocations work with: persons are told with the identity provider's token and words."""

    @contextmanager
    def revocations() -> Iterator[Revocations]:
        from tsp.idp.app import revocations as revoking

        with ceremony.open_token("identity") as token:
            yield revoking(ceremony.settings, token, ceremony.writer)

    return RevocationContext(ceremony, revocations)
