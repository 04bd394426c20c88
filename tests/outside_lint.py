"""Holds every certificate that a test run issues against the outside linter (pkilint).

Whatever an authority hands out in this process, in whatever test, is looked at once for each shape: what differs in
names, numbers, times and keys alone says nothing new to a linter. What it finds falsely stands in `false_findings`.
"""

from collections.abc import Callable
from typing import Any

from asn1crypto import x509

Shape = tuple[object, ...]


class Collector:
    """Takes a certificate of every new shape; `findings` lints what was taken since it was asked last."""

    def __init__(self) -> None:
        self._seen: set[Shape] = set()
        self._waiting: list[bytes] = []

    def around(self, check: Callable[..., Any]) -> Callable[..., Any]:
        """`check_issued`, and after it whatever passed is taken."""

        def checked(der: bytes, *arguments: Any) -> Any:
            result = check(der, *arguments)
            shape = shape_of(der)
            if shape not in self._seen:
                self._seen.add(shape)
                self._waiting.append(der)
            return result

        return checked

    def findings(self) -> list[str]:
        """What the linter finds, each with the subject's profile of attributes."""
        waiting, self._waiting = self._waiting, []
        return [f"{code} in {subject}" for der in waiting for code, subject in _linted(der)]


def shape_of(der: bytes) -> Shape:
    """Everything of a certificate that a linter's rules depend on, but for values that only identify."""
    read = x509.Certificate.load(der)
    tbs = read["tbs_certificate"]
    policies, usage = read.certificate_policies_value, read.extended_key_usage_value
    return (
        tuple(pair["type"].dotted for rdn in read.subject.chosen for pair in rdn),
        tuple((e["extn_id"].dotted, e["critical"].native) for e in tbs["extensions"]),
        tuple(info["policy_identifier"].dotted for info in policies) if policies is not None else (),
        tuple(purpose.dotted for purpose in usage) if usage is not None else (),
        read.public_key["algorithm"].dump(),
        tuple(read.ocsp_urls),
    )


def _linted(der: bytes) -> list[tuple[str, str]]:
    # Late: most tests issue nothing, and the linter takes its time to load.
    from tests.ca.ca_kit import etsi_findings, pkix_findings
    from tests.false_findings import unexplained

    read = x509.Certificate.load(der)
    find = pkix_findings if read.ca else etsi_findings
    subject = ",".join(pair["type"].map(pair["type"].dotted) for rdn in read.subject.chosen for pair in rdn)
    return [(code, subject) for code in sorted(unexplained(find(der), der))]
