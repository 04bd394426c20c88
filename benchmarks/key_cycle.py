"""`key-cycle`: the engine's key cycle in one process, without database, against the bare cycle.

Ours is what stands between an approval that comes in and a signature that may be written down:
`Activator.verify`, then `OneTimeSigner.sign` (key made and its protection read back, certificate built,
signed and compared, attributes built, signature made and verified, key destroyed and looked for).
"""

from collections.abc import Iterator

from benchmarks.kit import KIND, Provider, activator, certify_issuer, directory, new_token, one_time_signer, open_token
from benchmarks.runner import Measured, Side, compare
from benchmarks.yardsticks import bare_cycle
from tsp.engine.onetime import Order
from tsp.engine.protocol import SignRequest


def measure() -> Iterator[Measured]:
    """How many percent of the bare cycle's pace the engine's key cycle keeps."""
    with directory() as place:
        for label in ("ca", "bare"):
            new_token(place, label)
        with open_token("ca") as token, bare_cycle("bare") as bare:
            provider = Provider()
            judge, signer = activator(provider.pinned), one_time_signer(token, certify_issuer(token))

            def ours(request: SignRequest) -> None:
                activation = judge.verify(request.approval, request.proof, request.digests)
                (document,) = activation.documents
                order = Order(KIND, activation.person, bytes.fromhex(document.digest_signed))
                signer.sign(order, on_planned=lambda _prepared, _spki: None, on_step=lambda _step: None)

            yield compare(
                "key-cycle",
                Side("bare cycle", lambda _: bare.run()),
                Side("verify + OneTimeSigner.sign", ours, provider.request),
                unit="%",
                bound=60,
                turns=300,
            )
