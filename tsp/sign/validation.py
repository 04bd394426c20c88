"""The platform's own validator as the signing site uses it: nobody gets a file that does not pass."""

from tsp.core.clock import Clock
from tsp.core.isolated import Isolated
from tsp.sign.ports import Verdict
from tsp.validate.service import validate_pdf
from tsp.validate.trust import TrustAnchors


class OwnValidator:
    """Judges a signature by field name, against the installation's own root; `max_bytes` bounds the file."""

    def __init__(self, trust: TrustAnchors, isolated: Isolated, clock: Clock, max_bytes: int) -> None:
        # The file alone must be enough: status that we happen to have here does not count.
        self._trust = TrustAnchors(trust.certificates)
        self._isolated = isolated
        self._clock = clock
        self._max_bytes = max_bytes

    def judge(self, pdf: bytes, field_name: str) -> Verdict:
        """The verdict on one signature, made offline: what a stranger will find with the file alone."""
        report = validate_pdf(pdf, self._trust, self._clock.now(), self._isolated, max_bytes=self._max_bytes)
        for signature in report.signatures:
            if signature.field_name == field_name:
                return Verdict(str(signature.indication), str(signature.sub_indication or ""), str(signature.level))
        return Verdict("TOTAL-FAILED", "SIGNED_DATA_NOT_FOUND", "")
