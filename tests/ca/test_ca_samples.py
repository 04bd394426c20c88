"""Test certificates: one of every type in every state, and each is what its name says."""

from collections.abc import Mapping
from itertools import product

import pytest
from asn1crypto import x509

from tests.ca.ca_kit import NOW, SoftKey, authority, issuer, profiles
from tsp.audit.entries import Writer
from tsp.ca.issuance import Issuance
from tsp.ca.profiles import Profile
from tsp.ca.revocation import revoke
from tsp.ca.samples import Sample, SampleBench, make_samples
from tsp.ca.tables import status
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.randomness import SystemRandomness

REVOCABLE = ("advanced-qualified-seal", "advanced-seal", "authentication", "operator", "qtsu", "qualified-seal")
SERVERS = ("tls-server", "trust-list", "tsu")
ONE_TIME = ("advanced", "advanced-qualified", "qualified")


def bench(database: Database, clock: SettableClock, *, qscd: bool = True) -> SampleBench:
    randomness = SystemRandomness()
    known = profiles()
    roles = sorted({role for profile in known.values() for role in profile.issuers} - {"root"})
    issuers = {role: issuer(role) for role in roles}

    def issuance(chosen: Mapping[str, Profile]) -> Issuance:
        whole = authority(issuers, known=chosen, clock=clock, qscd=qscd)
        writer = Writer("certification", randomness, clock)
        return Issuance(whole, database, clock, randomness, writer, one_time=True)

    def withdraw(role: str, serial: str) -> None:
        with database.write() as session:
            revoke(session, role, serial, "cessationOfOperation", clock.now())

    provider = "SI", "Enkrat TEST d.o.o.", "VATSI-10000003"
    key = SoftKey().public_spki
    return SampleBench(known, frozenset(issuers), issuance, lambda: key, withdraw, provider, qscd)


@pytest.mark.requirement("CA-1", "CA-2", "CA-3")
def test_there_is_one_of_every_type_in_every_state(database: Database, clock: SettableClock) -> None:
    made = make_samples(bench(database, clock))
    kinds = {(sample.profile, sample.state) for sample in made}
    assert kinds == {
        *product((*ONE_TIME, "ocsp-responder"), ("valid", "expired")),
        *product((*REVOCABLE, *SERVERS), ("valid", "expired", "revoked")),
    }
    assert len({sample.name for sample in made}) == len(made)
    for sample in made:
        _is_what_its_name_says(sample, database)
    clock.advance(minutes=1)
    assert all((sample.not_after < clock.now()) == (sample.state == "expired") for sample in made)


def _is_what_its_name_says(sample: Sample, database: Database) -> None:
    read = x509.Certificate.load(sample.der)
    assert "TEST" in read.subject.native["common_name"] or sample.profile == "tls-server"
    assert (read.not_valid_before, read.not_valid_after) == (sample.not_before, sample.not_after)
    assert sample.not_before == NOW
    with database.read() as session:
        known = status(session, sample.issuer, sample.serial)
    assert known is not None
    assert known.revoked == (sample.state == "revoked")


@pytest.mark.requirement("CA-4", "SIG-3")
def test_without_a_device_there_are_none_that_state_one(database: Database, clock: SettableClock) -> None:
    made = make_samples(bench(database, clock, qscd=False))
    assert {sample.profile for sample in made} & {"qualified", "qualified-seal"} == set()
    assert "advanced-qualified-seal" in {sample.profile for sample in made}
