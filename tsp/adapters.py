"""What one wing offers, in the shape that another asks for: wings that do not know each other meet here."""

from collections.abc import Sequence
from pathlib import Path

from tsp.engine.protocol import EngineClient, SignatureResult, SignRequest


class EnginePort:
    """The signing engine behind its sockets, as the signing site sees it (`tsp.sign.ports.SigningPort`)."""

    def __init__(self, socket: Path) -> None:
        self._client = EngineClient(socket)

    def sign(self, approval: str, proof: str, digests: Sequence[str]) -> list[SignatureResult]:
        """Signs what the approval names."""
        return self._client.sign(SignRequest(approval, proof, digests))
