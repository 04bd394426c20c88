"""A key cycle that does not go as it must ends without a signature."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

import hsm
from hsm.errors import DestructionFailed, TokenGone
from tests.engine.engine_kit import PERSON, Provider, Room, digest_of
from tsp.audit.tables import Entry
from tsp.ca.names import PersonName
from tsp.core.errors import TspError, Unavailable
from tsp.engine.onetime import KEY_STEPS, OneTimeSigner, Order, Step
from tsp.engine.tables import Approval, Signature

ORDER = Order(
    "qualified",
    PersonName(PERSON["given_name"], PERSON["family_name"], PERSON["country"], PERSON["serial_number"]),
    bytes.fromhex(digest_of("signed contract")),
)


class Twisted:
    """A real token whose one-time keys misbehave in one way."""

    def __init__(self, token: hsm.Token, fault: str) -> None:
        self._token = token
        self.fault = fault
        self.alive = 0

    @contextmanager
    def one_time_key(self) -> Iterator[Any]:
        if self.fault == "gone":
            raise TokenGone("the token is gone")
        with self._token.one_time_key() as key:
            yield TwistedKey(key, self.fault)
        if self.fault == "not destroyed":
            self.alive = 1
            raise DestructionFailed("not proven", hsm.DestructionRecord(True, 1, True))

    def private_keys(self) -> list[hsm.KeyHandleInfo]:
        return [*self._token.private_keys(), *[hsm.KeyHandleInfo("one-time", b"x", False)] * self.alive]

    def state(self) -> hsm.TokenState:
        return self._token.state()


class TwistedKey:
    def __init__(self, key: hsm.OneTimeKey, fault: str) -> None:
        self._key = key
        self._fault = fault
        self.public_spki = key.public_spki
        self.attributes = key.attributes
        if fault == "extractable":
            self.attributes = replace(key.attributes, extractable=True)
        if fault == "lasting":
            self.attributes = replace(key.attributes, token=True)

    def sign_digest(self, digest: bytes) -> bytes:
        return self._key.sign_digest(bytes(32) if self._fault == "another digest" else digest)

    def destroy(self) -> hsm.DestructionRecord:
        record = self._key.destroy()
        return replace(record, found_after=1) if self._fault == "still found" else record


FAULTS = {
    "gone": "hsm-unavailable",
    "extractable": "key-unprotected",
    "lasting": "key-unprotected",
    "another digest": "signature-unsound",
    "still found": "key-not-destroyed",
    "not destroyed": "key-not-destroyed",
}


@pytest.mark.requirement("SIG-1", "EVD-5")
@pytest.mark.parametrize(("fault", "code"), FAULTS.items())
def test_what_goes_wrong_gives_no_signature_and_leaves_no_key(
    room: Room, provider: Provider, fault: str, code: str
) -> None:
    twisted = Twisted(room.token, fault)
    signer = OneTimeSigner(twisted, room.authority(), room.chains, room.clock)
    with room.engine(signer=signer) as engine, pytest.raises(Unavailable) as caught:
        engine.sign(provider.request())
    assert caught.value.code == code
    assert room.one_time_keys() == 0
    with room.database.read() as session:
        assert session.scalar(select(Approval.state)) == "released"
        assert session.scalars(select(Signature.id)).all() == []
        assert "signature-abandoned" in session.scalars(select(Entry.kind)).all()


@pytest.mark.requirement("EVD-5")
def test_after_an_unproven_end_nothing_is_signed_until_no_key_is_alive(
    room: Room, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    twisted = Twisted(room.token, "not destroyed")
    signer = OneTimeSigner(twisted, room.authority(), room.chains, room.clock)
    request = provider.request()
    with room.engine(signer=signer) as engine:
        with pytest.raises(Unavailable, match="key-not-destroyed"):
            engine.sign(request)
        assert (engine.status().keys_alive, engine.status().suspended) == (1, True)
        twisted.fault = ""
        with pytest.raises(Unavailable, match="hsm-unavailable"):
            engine.sign(request)
        twisted.alive = 0
        assert len(engine.sign(request)) == 1
        assert not engine.status().suspended
    assert "a one-time key may be alive" in caplog.text


def test_one_life_in_order(room: Room) -> None:
    steps: list[Step] = []
    planned: list[str] = []

    def plan(prepared: Any, spki: bytes) -> None:
        assert steps == [Step.GENERATED]
        planned.append(prepared.serial)

    signer = OneTimeSigner(room.token, room.authority(), room.chains, room.clock)
    made = signer.sign(ORDER, on_planned=plan, on_step=steps.append)
    assert tuple(steps) == KEY_STEPS
    assert planned == [made.issued.serial]
    assert list(made.times) == steps
    assert made.destruction.proven


@pytest.mark.requirement("SIG-1")
def test_a_key_is_not_used_before_its_certificate_is_valid(room: Room) -> None:
    def clock_set_back(step: Step) -> None:
        if step is Step.CERTIFIED:
            room.clock.jump(-3600)

    signer = OneTimeSigner(room.token, room.authority(), room.chains, room.clock)
    with pytest.raises(Unavailable, match="clock-unsound"):
        signer.sign(ORDER, on_planned=lambda _prepared, _spki: None, on_step=clock_set_back)
    assert room.one_time_keys() == 0


def test_a_plan_that_cannot_be_kept_stops_the_authority(room: Room) -> None:
    steps: list[Step] = []

    def no_database(_prepared: Any, _spki: bytes) -> None:
        raise Unavailable("database-unavailable", "gone")

    signer = OneTimeSigner(room.token, room.authority(), room.chains, room.clock)
    with pytest.raises(Unavailable, match="database-unavailable"):
        signer.sign(ORDER, on_planned=no_database, on_step=steps.append)
    assert steps == [Step.GENERATED]
    assert room.one_time_keys() == 0


def test_a_token_that_is_gone_has_no_status(room: Room) -> None:
    class Gone(Twisted):
        def private_keys(self) -> list[hsm.KeyHandleInfo]:
            raise TokenGone("the token is gone")

    signer = OneTimeSigner(Gone(room.token, ""), room.authority(), room.chains, room.clock)
    with room.engine(signer=signer) as engine, pytest.raises(TspError, match="hsm-unavailable"):
        engine.status()
