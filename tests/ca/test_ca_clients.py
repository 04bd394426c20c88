"""What GnuTLS and NSS say of the artefacts of a ceremony: chains, uses, lists (docs/clients.md)."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

from tests.ca.ca_kit import NOW
from tsp.ca.ceremony import CeremonyRoom, run_ceremony
from tsp.ca.plan import CeremonyPlan
from tsp.core.clock import SystemClock

#: NSS: the uses of a certificate that matter here (SECCertificateUsageEnum).
STATUS_RESPONDER, ANY_AUTHORITY = "10", "11"


def run(*arguments: str | Path) -> tuple[int, str]:
    """Exit status, and everything that was said."""
    done = subprocess.run([*map(str, arguments)], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def nss(artefacts: Path, tmp_path: Path) -> Path:
    """A certificate store that trusts the root."""
    store = tmp_path / "nss"
    store.mkdir()
    assert run("certutil", "-N", "-d", f"sql:{store}", "--empty-password")[0] == 0
    add = ("certutil", "-A", "-d", f"sql:{store}", "-n", "root", "-t", "CT,C,C", "-i", artefacts / "root.pem")
    assert run(*add)[0] == 0
    return store


@pytest.mark.requirement("CA-1")
@pytest.mark.parametrize(
    ("name", "above", "use"),
    [
        ("qualified", [], ANY_AUTHORITY),
        ("nonqualified", [], ANY_AUTHORITY),
        ("infrastructure", [], ANY_AUTHORITY),
        ("ocsp-qualified", ["qualified"], STATUS_RESPONDER),
        ("ocsp-nonqualified", ["nonqualified"], STATUS_RESPONDER),
        ("ocsp-infrastructure", ["infrastructure"], STATUS_RESPONDER),
    ],
)
def test_nss_vfychain_builds_the_chain(artefacts: Path, nss: Path, name: str, above: list[str], use: str) -> None:
    moment = NOW.strftime("%y%m%d%H%M%SZ")
    asked = ("vfychain", "-d", f"sql:{nss}", "-pp", "-b", moment, "-u", use, "-a", artefacts / f"{name}.pem")
    code, told = run(*asked, *(artefacts / f"{one}.pem" for one in above))
    assert (code, "Chain is good!" in told) == (0, True), told
    # Not as what it is not: a responder is no authority.
    if above:
        wrong = [ANY_AUTHORITY if argument == use else argument for argument in asked]
        assert "Chain is good!" not in run(*wrong, *(artefacts / f"{one}.pem" for one in above))[1]


@pytest.mark.requirement("CA-1", "CA-4")
def test_nss_crlutil_takes_the_roots_list(artefacts: Path, nss: Path) -> None:
    code, told = run("crlutil", "-I", "-d", f"sql:{nss}", "-i", artefacts / "root.crl")
    assert code == 0, told
    code, told = run("crlutil", "-L", "-d", f"sql:{nss}", "-n", "root")
    assert code == 0, told
    assert "CRL Info" in told
    assert "Signature Algorithm: X9.62 ECDSA" in told
    # A list that nobody signed is not taken.
    spoilt = artefacts / "spoilt.crl"
    octets = bytearray((artefacts / "root.crl").read_bytes())
    octets[-5] ^= 1
    spoilt.write_bytes(octets)
    assert run("crlutil", "-I", "-d", f"sql:{nss}", "-i", spoilt)[0] != 0


@pytest.mark.requirement("CA-1", "CA-4")
def test_certtool_verifies_the_roots_list(plan: CeremonyPlan, room: CeremonyRoom) -> None:
    # certtool judges by the machine's own clock.
    run_ceremony(plan, dataclasses.replace(room, clock=SystemClock()))
    listed, trusted = room.directory / "root-crl.pem", ("--load-ca-certificate", room.directory / "root.pem")
    assert run("openssl", "crl", "-inform", "DER", "-in", room.directory / "root.crl", "-out", listed)[0] == 0
    code, told = run("certtool", "--verify-crl", "--infile", listed, *trusted)
    assert (code, "Verified" in told) == (0, True), told
    code, told = run("certtool", "--crl-info", "--infile", listed)
    assert code == 0
    assert "CRL Number" in told
    other = ("--load-ca-certificate", room.directory / "infrastructure.pem")
    assert "Verified" not in run("certtool", "--verify-crl", "--infile", listed, *other)[1]


@pytest.mark.requirement("CA-1")
@pytest.mark.parametrize("name", ["tsu", "qtsu", "ocsp-qualified", "ocsp-infrastructure"])
def test_certtool_reads_every_extension(artefacts: Path, name: str) -> None:
    code, told = run("certtool", "-i", "--infile", artefacts / f"{name}.pem")
    assert code == 0
    assert "Basic Constraints" in told or "Key Purpose" in told
    assert "error" not in told.lower()
