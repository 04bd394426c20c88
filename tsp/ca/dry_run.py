"""A rehearsal: the whole ceremony on throw-away tokens in memory, with nothing written and no real token opened."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm import Attributes, KeyHandleInfo, KeySpec, Token
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.plan import CeremonyPlan
from tsp.ca.roll_over import RollOverPlan, run_roll_over
from tsp.core.files import write_private

_CURVES: dict[KeySpec, ec.EllipticCurve] = {KeySpec.P256: ec.SECP256R1(), KeySpec.P384: ec.SECP384R1()}
#: The throw-away tokens say of themselves what they are.
SERIAL = "dry-run"


@dataclass(frozen=True, slots=True)
class _Key:
    """A key in memory, with the face of `hsm.SigningKey`. Its attributes tell that no token holds it."""

    private: ec.EllipticCurvePrivateKey

    @property
    def attributes(self) -> Attributes:
        return Attributes(
            local=False, sensitive=False, always_sensitive=False, extractable=True, never_extractable=False, token=False
        )

    @property
    def public_spki(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign_digest(self, digest: bytes) -> bytes:
        known = {32: hashes.SHA256(), 48: hashes.SHA384()}[len(digest)]
        return self.private.sign(digest, ec.ECDSA(Prehashed(known)))


class _Token:
    """As much of `hsm.Token` as a ceremony uses."""

    serial = SERIAL

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}

    def generate_signing_key(self, label: str, spec: KeySpec) -> _Key:
        self._keys[label] = _Key(ec.generate_private_key(_CURVES[spec]))
        return self._keys[label]

    def signing_key(self, label: str) -> _Key:
        return self._keys[label]

    def private_keys(self) -> list[KeyHandleInfo]:
        return [KeyHandleInfo(label, b"", True) for label in self._keys]

    def close(self) -> None:
        """Nothing to close: the keys go with the process."""


def rehearse(plan: CeremonyPlan, room: CeremonyRoom, roll_over: RollOverPlan | None = None) -> dict[str, Any]:
    """The transcript that a ceremony of this plan, or this roll-over, would write now; `room` needs no tokens.

    Raises what the real one raises where plan, profiles, custodians or certificates do not fit.
    """
    with tempfile.TemporaryDirectory() as place:
        pin = Path(place) / "root.pin"
        write_private(pin, b"rehearsal\n")
        names: set[str] = {entry.token for entry in plan.entries.values()}
        tokens = {name: cast("Token", _Token()) for name in names}
        here = replace(room, tokens=tokens, directory=Path(place) / "ca", root_pin=pin)
        if roll_over is None:
            return run_ceremony(plan, here)
        run_ceremony(plan.model_copy(update={"root_pin": "keep"}), replace(here, facts={}, files={}))
        for generation in range(2, roll_over.generation):
            before = {
                "generation": generation,
                "common_name": f"{roll_over.common_name} before {generation}",
                "responder_common_name": f"{roll_over.responder_common_name} before {generation}",
            }
            run_roll_over(plan, roll_over.model_copy(update=before), replace(here, facts={}, files={}))
        return run_roll_over(plan, roll_over, here)
