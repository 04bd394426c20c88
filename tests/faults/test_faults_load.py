"""Two hundred kills at random moments while signatures are asked for, and then everything adds up.

    FAULT_SEED=7 make test ARGS="tests/faults/test_faults_load.py"

does the same in the same order again, as far as the machine's own timing lets it.
"""

import base64
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey
from sqlalchemy import func, select

from tests.audit.audit_kit import Log
from tests.conftest import TokenFactory
from tests.engine.engine_kit import Provider, Room, certify_issuer
from tests.engine.engine_worker import room_job
from tests.faults.load_worker import RUNNER_RULES, TERMS, RunningClock
from tests.faults.outbox_worker import Gateway, sealer
from tests.zygote import Job, Zygote
from tsp.audit.checkpoint import open_checkpoint
from tsp.audit.tables import Entry, latest_signed
from tsp.audit.verify import verify_database
from tsp.ca.tables import Certificate
from tsp.core.database import Database
from tsp.core.errors import TspError
from tsp.core.randomness import Randomness, SystemRandomness
from tsp.engine.protocol import EngineClient, SignatureResult, SignRequest
from tsp.engine.tables import ABANDONED, DONE, SIGNED, Approval, Evidence, Signature, SignatureIntent
from tsp.notify.outbox import Outbox
from tsp.notify.runner import Runner, backlog

KILLS = 200
ENGINES, SEQUENCERS, RUNNERS, CLIENTS = 3, 2, 2, 3
SEED = int(os.environ.get("FAULT_SEED", "20261123"))
WORK = "tests.faults.load_worker:"


def repeatable(seed: float) -> random.Random:
    """Chance that repeats; nothing is secret."""
    return random.Random(seed)  # noqa: S311  (see above)


@contextmanager
def seeded() -> Iterator[random.Random]:
    """The test's chance; what fails under it says with which seed."""
    try:
        yield repeatable(SEED)
    except BaseException as error:
        error.add_note(f"again with FAULT_SEED={SEED}")
        raise


class Slot:
    """The place of one worker: whoever stands in it is killed, and another takes it."""

    _number = count()

    def __init__(self, zygote: Zygote, directory: Path, job: Job) -> None:
        self.job, self.kills = job, 0
        self._zygote, self._directory = zygote, directory
        self._start()

    def _start(self) -> None:
        self._ready = self._directory / f"ready-{next(self._number)}"
        self._process = self._zygote.start(self.job | {"ready": str(self._ready)})

    @property
    def ready(self) -> bool:
        """Before that it opens the token, which SoftHSM rewrites then: that file is not what is tried here."""
        return self._ready.exists()

    def kill(self) -> None:
        os.kill(self._process, signal.SIGKILL)
        assert self._zygote.end(self._process) == "killed", f"{self.job['work']} ended by itself"
        self.kills += 1

    def replace(self) -> None:
        self.kill()
        self._start()


@dataclass
class Load:
    """People who ask for signatures and get messages, until they are told to stop."""

    room: Room
    sockets: list[Path]
    outbox: Outbox
    stop: threading.Event = field(default_factory=threading.Event)
    asked: dict[str, SignRequest] = field(default_factory=dict)
    clients: dict[str, ECKey] = field(default_factory=dict)
    answered: dict[str, list[SignatureResult]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    #: Not one of the family of errors: nobody may see such a thing.
    unexpected: list[BaseException] = field(default_factory=list)

    def provider(self) -> Provider:
        """An identity provider of its own for each thread, with the key that the engines trust."""
        made = Provider(self.room.clock)
        made.key = self.room.approval_key
        return made

    @staticmethod
    def jti(approval: str) -> str:
        """The id that the approval bears."""
        body = approval.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["jti"])

    def ask(self, rng: random.Random) -> None:
        """One thread's life."""
        provider = self.provider()
        try:
            while not self.stop.is_set():
                name = f"document {len(self.asked)} {rng.random()}"
                request = provider.request(*[f"{name} {part}" for part in range(rng.choice((1, 1, 2)))])
                self.asked[request.approval], self.clients[request.approval] = request, provider.client
                with self.room.database.write() as session:
                    message = self.outbox.sms(session, "+38641123456", name, purpose="test")
                self.messages.append(message)
                self._insist(provider, request, rng, tries=rng.choice((1, 20)))
        except BaseException as error:  # noqa: BLE001  (looked at in the test's own thread)
            self.unexpected.append(error)

    def _insist(self, provider: Provider, request: SignRequest, rng: random.Random, tries: int) -> None:
        """Asks any engine; some people go away after the first failure."""
        for _ in range(tries):
            try:
                again = provider.again(request.approval, list(request.digests))
                client = EngineClient(rng.choice(self.sockets), timeout=10)
                self.answered[request.approval] = client.sign(again)
            except TspError as error:
                assert error.code in ("engine-unavailable", "approval-in-use", "database-unavailable"), error
                self.stop.wait(0.05)
            else:
                return


@pytest.fixture
def room(tmp_path: Path, database: Database, token_factory: TokenFactory) -> Room:
    clock = RunningClock(time.monotonic())
    token = token_factory("ca")
    return Room(tmp_path, database, token, certify_issuer(token, clock), clock, Provider(clock).key)


def slots_of(room: Room, zygote: Zygote, origin: float, sockets: list[Path]) -> list[Slot]:
    """Every worker of the platform that is killed."""
    common = room_job(room) | {"origin": origin}
    jobs = [common | {"work": f"{WORK}engine", "socket": str(path)} for path in sockets]
    jobs += [common | {"work": f"{WORK}sequencer", "holder": f"log.{n}"} for n in range(SEQUENCERS)]
    jobs += [common | {"work": f"{WORK}runner"} for _ in range(RUNNERS)]
    return [Slot(zygote, room.directory, job) for job in jobs]


def last_checkpoint(log: Log) -> str:
    with log.database.read() as session:
        head = latest_signed(session)
    return head.note or "" if head else ""


def kill_at_random(slots: list[Slot], log: Log, rng: random.Random) -> list[str]:
    """Kills one worker after the other; the checkpoints that were seen meanwhile, in order."""
    seen: list[str] = []
    pause = threading.Event()
    for _ in range(KILLS):
        pause.wait(rng.uniform(0, 0.08))
        victim = rng.choice(slots)
        for _ in range(3000):
            if victim.ready:
                break
            pause.wait(0.01)
        assert victim.ready, f"{victim.job['work']} does not start"
        victim.replace()
        note = last_checkpoint(log)
        if note and note not in seen:
            seen.append(note)
    return seen


def finish(room: Room, load: Load, log: Log) -> None:
    """What the next start of the platform does: settles what is left, and signs what its people still want."""
    room.clock.advance(seconds=60)
    with room.engine(terms=TERMS) as engine:
        engine.sweep()
        assert engine.sweep() == 0
        for approval in load.asked.keys() - load.answered.keys():
            again = load.provider()
            again.client = load.clients[approval]
            load.answered[approval] = engine.sign(again.again(approval, list(load.asked[approval].digests)))
        assert engine.status().keys_alive == 0
    gateway = Gateway(room.directory)
    senders = {"mail": gateway, "sms": gateway}
    runner = Runner(room.database, sealer(), room.clock, room.randomness, senders, RUNNER_RULES)
    while runner.run_once():
        pass
    sequencer = log.another("log.9")
    while sequencer.step():
        pass


def check_signature(room: Room, signature: Signature, certificate: bytes) -> None:
    """The CMS is over this digest, by the key of this certificate, which the authority issued."""
    leaf = x509.load_der_x509_certificate(certificate)
    leaf.verify_directly_issued_by(x509.load_der_x509_certificate(room.issuer))
    [signer] = cms.ContentInfo.load(signature.cms)["content"]["signer_infos"]
    attributes = {attribute["type"].native: attribute["values"][0].native for attribute in signer["signed_attrs"]}
    assert attributes["message_digest"].hex() == signature.digest
    key = leaf.public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    key.verify(signer["signature"].native, signer["signed_attrs"].untag().dump(), ECDSA(SHA256()))


def check_signatures(room: Room, load: Load) -> None:
    """Each approval is signed exactly once, with evidence and log entry, and its asker has that very signature."""
    asked = {load.jti(approval): request for approval, request in load.asked.items()}
    with room.database.read() as session:
        states = {row.jti: row.state for row in session.execute(select(Approval.jti, Approval.state))}
        made = session.execute(
            select(Signature, Certificate.der, Evidence, Entry)
            .join(Certificate, Certificate.serial == Signature.serial)
            .join(Evidence, Evidence.signature_id == Signature.id)
            .join(Entry, Entry.id == Evidence.entry_id)
        ).all()
        assert len(made) == session.scalar(select(func.count()).select_from(Signature))
    assert states == dict.fromkeys(asked, SIGNED)
    assert len(made) == sum(len(request.digests) for request in asked.values())
    stored: dict[tuple[str, str], bytes] = {}
    for signature, certificate, evidence, entry in made:
        check_signature(room, signature, certificate)
        facts = json.loads(entry.content)["facts"]
        assert facts == {"evidence": evidence.id, "sha256": evidence.sha256}
        assert entry.position is not None
        stored[signature.jti, signature.digest] = signature.cms
    for approval, results in load.answered.items():
        assert {(load.jti(approval), result.digest): result.cms for result in results}.items() <= stored.items()
    assert len(stored) == len(made)


def check_intents(room: Room) -> int:
    """Every intent is settled, and of a certificate that came to nothing the log knows the number; how many such."""
    with room.database.read() as session:
        intents = session.scalars(select(SignatureIntent)).all()
        signatures = session.scalar(select(func.count()).select_from(Signature))
        issued = set(session.scalars(select(Certificate.serial)))
        told = session.scalars(select(Entry.content).where(Entry.kind == "signature-abandoned")).all()
        lost = {serial for content in told for serial in json.loads(content)["facts"]["serials"]}
    assert {intent.outcome for intent in intents} <= {DONE, ABANDONED}
    assert sum(intent.outcome == DONE for intent in intents) == signatures
    abandoned = {intent.serial for intent in intents if intent.outcome == ABANDONED and intent.serial}
    assert abandoned == lost
    assert not lost & issued
    return sum(intent.outcome == ABANDONED for intent in intents)


@pytest.mark.requirement("SIG-1", "SIG-6", "EVD-1", "EVD-2", "EVD-5", "NOT-1", "OPS-1")
def test_after_two_hundred_random_kills_everything_adds_up(
    room: Room, zygote: Zygote, randomness: Randomness, tmp_path: Path
) -> None:
    log = Log(room.database, room.clock, randomness)
    sockets = [tmp_path / f"engine-{number}.sock" for number in range(ENGINES)]
    slots = slots_of(room, zygote, room.clock.origin, sockets)
    load = Load(room, sockets, Outbox(sealer(), SystemRandomness(), room.clock))
    with seeded() as rng:
        askers = [threading.Thread(target=load.ask, args=(repeatable(rng.random()),)) for _ in range(CLIENTS)]
        for asker in askers:
            asker.start()
        try:
            seen = kill_at_random(slots, log, rng)
        finally:
            load.stop.set()
            for asker in askers:
                asker.join()
            for slot in slots:
                slot.kill()
        assert load.unexpected == []
        finish(room, load, log)

        assert room.one_time_keys() == 0
        check_signatures(room, load)
        assert check_intents(room) > 0, "no kill met a signature on its way"
        sizes = [open_checkpoint(note, log.key).size for note in seen]
        assert sizes == sorted(set(sizes))
        for note in (seen[0], seen[len(seen) // 2], seen[-1]):
            assert verify_database(room.database, log.key, remembered=note).findings == []
        with room.database.read() as session:
            assert backlog(session) == {"sent": len(load.messages)}
        taken = Gateway(tmp_path).taken()
        assert set(taken) == set(load.messages)
        killed_runners = sum(slot.kills for slot in slots if slot.job["work"].endswith("runner"))
        assert sum(taken.values()) - len(taken) <= killed_runners, "one message twice for each runner killed, at most"
