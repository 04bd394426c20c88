"""Passwords, codes, PUK and the one gate before them."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from argon2.low_level import Type, hash_secret_raw
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

import hsm
from tests.conftest import TokenFactory
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Invalid, Refused, TooMany, Unavailable
from tsp.core.randomness import Randomness
from tsp.idp.credentials.breached import BreachedFile
from tsp.idp.credentials.codes import CodeRules, Codes, typed_code
from tsp.idp.credentials.gate import Factor, Gate, Limit
from tsp.idp.credentials.keys import Index, framed
from tsp.idp.credentials.password import Cost, Passwords, judge, require_good
from tsp.idp.credentials.puk import Puks
from tsp.idp.credentials.tables import AttemptLimit, OneTimeCode, PasswordRow, PukRow

CHEAP = Cost(passes=1, memory=8, lanes=1)
LIMIT = Limit(free=3, pauses=(30, 60, 120), forget=3600)
EMAIL = "ana.novak@primer.si"
OWNER, PHONE = "account-1", (Factor.SMS_SENT, "phone-index")


@pytest.fixture
def key(token_factory: TokenFactory) -> hsm.HmacKey:
    return token_factory("identity").generate_hmac_key("code-hmac")


@pytest.fixture
def gate(database: Database, clock: SettableClock) -> Gate:
    return Gate(database, clock, dict.fromkeys(Factor, LIMIT))


@pytest.fixture
def codes(database: Database, key: hsm.HmacKey, clock: SettableClock, randomness: Randomness) -> Codes:
    gate = Gate(database, clock, {Factor.CODE: Limit(20, (60,), 3600), Factor.SMS_SENT: LIMIT})
    return Codes(database, key, gate, clock, randomness, CodeRules(ttl=300, attempts=5, resend=30))


def _issue(database: Database, codes: Codes, reference: str = "login-1", context: bytes = b"digest") -> str:
    with database.write() as session:
        return codes.issue(session, "login", reference, context, owner=OWNER, sent_to=PHONE)[1]


def _try(database: Database, codes: Codes, code: str, reference: str = "login-1", context: bytes = b"digest") -> str:
    """The use case as everybody writes it: "ok", or the code of the refusal."""
    try:
        attempt = codes.attempt("login", reference)
        with database.write() as session:
            codes.check(session, attempt, context, code)
    except (Refused, TooMany) as error:
        return error.code
    return "ok"


def _wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


# --- codes --------------------------------------------------------------------------------------


@pytest.mark.requirement("LOG-2")
def test_a_code_is_good_once(database: Database, codes: Codes) -> None:
    code = _issue(database, codes)
    assert len(code) == 6
    assert code.isdigit()
    assert _try(database, codes, code) == "ok"
    assert _try(database, codes, code) == "code-used"


@pytest.mark.requirement("LOG-2", "CSC-2")
def test_of_five_contenders_for_one_code_one_wins(database: Database, codes: Codes) -> None:
    code = _issue(database, codes)
    start = threading.Barrier(5)

    def contend() -> str:
        start.wait()
        return _try(database, codes, code)

    with ThreadPoolExecutor(5) as pool:
        outcomes = [f.result() for f in [pool.submit(contend) for _ in range(5)]]
    assert outcomes.count("ok") == 1
    assert outcomes.count("code-used") == 4


@pytest.mark.requirement("LOG-2")
def test_wrong_codes_are_counted_although_the_use_case_is_undone(database: Database, codes: Codes) -> None:
    code = _issue(database, codes)
    for _ in range(5):
        assert _try(database, codes, _wrong(code)) == "code-wrong"
    assert _try(database, codes, code) == "code-spent"


@pytest.mark.requirement("LOG-2")
def test_parallel_guesses_get_no_more_tries_than_there_are(database: Database, codes: Codes) -> None:
    code = _issue(database, codes)
    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(lambda _: _try(database, codes, _wrong(code)), range(12)))
    assert outcomes.count("code-wrong") == 5
    assert outcomes.count("code-spent") == 7


@pytest.mark.requirement("SIG-5", "CSC-2")
def test_a_code_is_bound_to_what_it_approves(database: Database, codes: Codes) -> None:
    code = _issue(database, codes, context=hashlib.sha256(b"contract").digest())
    assert _try(database, codes, code, context=hashlib.sha256(b"another contract").digest()) == "code-wrong"
    assert _try(database, codes, code, context=hashlib.sha256(b"contract").digest()) == "ok"


@pytest.mark.requirement("LOG-2")
def test_a_code_of_another_login_is_wrong(database: Database, codes: Codes, clock: SettableClock) -> None:
    mine = _issue(database, codes, "login-1")
    other = _issue(database, codes, "login-2")
    if mine != other:
        assert _try(database, codes, mine, "login-2") == "code-wrong"
    assert _try(database, codes, mine, "login-3") == "code-expired"


def test_a_new_code_ends_the_old_one_even_between_attempt_and_check(
    database: Database, codes: Codes, clock: SettableClock
) -> None:
    code = _issue(database, codes)
    attempt = codes.attempt("login", "login-1")
    clock.advance(seconds=30)
    _issue(database, codes)
    with pytest.raises(Refused, match="code-expired"), database.write() as session:
        codes.check(session, attempt, b"digest", code)


def test_a_code_dies_while_it_is_being_checked(database: Database, codes: Codes, clock: SettableClock) -> None:
    code = _issue(database, codes)
    attempt = codes.attempt("login", "login-1")
    clock.advance(seconds=300)
    with pytest.raises(Refused, match="code-expired"), database.write() as session:
        codes.check(session, attempt, b"digest", code)
    assert _try(database, codes, code) == "code-expired"


def test_resending_waits_and_a_used_code_does_not_hold_up_the_next(
    database: Database, codes: Codes, clock: SettableClock
) -> None:
    code = _issue(database, codes)
    clock.advance(seconds=29)
    with pytest.raises(TooMany) as refusal:
        _issue(database, codes)
    assert (refusal.value.code, refusal.value.retry_after) == ("code-cooldown", 1)
    assert _try(database, codes, code) == "ok"
    assert len(_issue(database, codes)) == 6


@pytest.mark.requirement("LOG-2")
def test_a_new_code_does_not_forget_earlier_failures(
    database: Database, key: hsm.HmacKey, gate: Gate, clock: SettableClock, randomness: Randomness
) -> None:
    codes = Codes(database, key, gate, clock, randomness, CodeRules(resend=0))
    for _ in range(3):
        assert _try(database, codes, _wrong(_issue_to(database, codes, f"phone-{_}"))) == "code-wrong"
    fresh = _issue_to(database, codes, "phone-9")
    assert _try(database, codes, fresh) == "too-many-attempts"
    clock.advance(seconds=30)
    assert _try(database, codes, fresh) == "ok"


def _issue_to(database: Database, codes: Codes, number: str) -> str:
    with database.write() as session:
        return codes.issue(session, "login", "login-1", b"digest", owner=OWNER, sent_to=(Factor.SMS_SENT, number))[1]


@pytest.mark.requirement("SEC-1")
def test_a_code_is_kept_as_an_hmac_that_only_the_token_can_make(
    database: Database, codes: Codes, key: hsm.HmacKey
) -> None:
    code = _issue(database, codes)
    with database.read() as session:
        row = session.scalars(select(OneTimeCode)).one()
        digest = hashlib.sha256(b"digest").digest()
        assert row.mac == key.mac(framed("code", row.id, "login", "login-1", digest, code))
        assert hashlib.sha256(code.encode()).digest() not in row.mac


def test_the_outcome_and_the_spent_code_are_one_transaction(database: Database, codes: Codes) -> None:
    code = _issue(database, codes)
    attempt = codes.attempt("login", "login-1")
    with pytest.raises(ZeroDivisionError), database.write() as session:
        codes.check(session, attempt, b"digest", code)
        _ = 1 // 0
    assert _try(database, codes, code) == "ok"


def test_dead_codes_are_swept(database: Database, codes: Codes, clock: SettableClock) -> None:
    _issue(database, codes)
    clock.advance(seconds=300 + 3600)
    with database.write() as session:
        assert codes.sweep(session) == 0
    clock.advance(seconds=1)
    with database.write() as session:
        assert codes.sweep(session) == 1


@given(st.text(st.sampled_from("0123456789 -\u2013\u00a0\t"), max_size=30))
def test_typed_codes_keep_their_digits_in_order(text: str) -> None:
    assert typed_code(text) == "".join(c for c in text if c.isdigit())


# --- the gate -----------------------------------------------------------------------------------


@pytest.mark.requirement("SEC-2")
def test_pauses_grow_end_by_themselves_and_success_wipes_them(
    database: Database, gate: Gate, clock: SettableClock
) -> None:
    subject = (Factor.PASSWORD, "subject")
    for _ in range(3):
        gate.attempt(subject)
    for pause in (30, 60, 120, 120):
        with pytest.raises(TooMany) as refusal:
            gate.attempt(subject)
        assert refusal.value.retry_after == pause
        clock.advance(seconds=pause)
        attempt = gate.attempt(subject)
    clock.advance(seconds=120)
    with database.write() as session:
        gate.passed(session, attempt)
    for _ in range(3):
        gate.attempt(subject)


def test_a_pause_costs_no_attempt_and_other_subjects_and_factors_go_on(gate: Gate, clock: SettableClock) -> None:
    for _ in range(3):
        gate.attempt((Factor.CODE, "a"))
    for _ in range(10):
        with pytest.raises(TooMany):
            gate.attempt((Factor.CODE, "a"))
    gate.attempt((Factor.CODE, "b"))
    gate.attempt((Factor.PASSWORD, "a"))
    clock.advance(seconds=30)
    assert gate.attempt((Factor.CODE, "a")).keys == ((Factor.CODE, "a"),)


def test_one_pause_among_several_keys_counts_under_none(database: Database, gate: Gate) -> None:
    for _ in range(3):
        gate.attempt((Factor.CODE, "b"))
    with pytest.raises(TooMany):
        gate.attempt((Factor.PASSWORD, "a"), (Factor.CODE, "b"))
    with database.read() as session:
        assert session.get(AttemptLimit, (Factor.PASSWORD.value, "a")) is None


def test_failures_are_forgotten_after_a_quiet_time(gate: Gate, clock: SettableClock) -> None:
    for _ in range(2):
        gate.attempt((Factor.PUK, "a"))
    clock.advance(seconds=LIMIT.forget)
    for _ in range(3):
        gate.attempt((Factor.PUK, "a"))
    with pytest.raises(TooMany):
        gate.attempt((Factor.PUK, "a"))


@pytest.mark.requirement("SEC-2")
def test_parallel_attempts_are_all_counted(database: Database, gate: Gate) -> None:
    def knock(_: int) -> bool:
        try:
            gate.attempt((Factor.PUK, "a"))
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(knock, range(8)))
    assert outcomes.count(True) == 3


@pytest.mark.requirement("SEC-2")
def test_the_gate_is_closed_when_it_cannot_count(
    gate: Gate, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Session:
        raise Unavailable("database-unavailable", "The service is briefly unavailable.")

    monkeypatch.setattr(database, "write", away)
    with pytest.raises(Unavailable):
        gate.attempt((Factor.PUK, "a"))


def test_an_attempt_that_could_not_be_judged_is_taken_back(gate: Gate) -> None:
    for _ in range(10):
        gate.withdraw(gate.attempt((Factor.PERSONAL_DATA, "a")))
    assert gate.attempt((Factor.PERSONAL_DATA, "a"))


def test_counts_that_nobody_needs_are_swept(database: Database, gate: Gate, clock: SettableClock) -> None:
    gate.attempt((Factor.PUK, "a"))
    clock.advance(seconds=LIMIT.forget)
    with database.write() as session:
        assert gate.sweep(session) == 0
    clock.advance(seconds=1)
    with database.write() as session:
        assert gate.sweep(session) == 1


@given(st.integers(1, 20), st.lists(st.integers(1, 10_000), min_size=1, max_size=6), st.integers(0, 60))
def test_a_pause_never_shrinks_while_attempts_grow(free: int, pauses: list[int], count: int) -> None:
    limit = Limit(free, tuple(sorted(pauses)), 3600)
    assert limit.pause_after(count) <= limit.pause_after(count + 1) <= max(pauses)
    assert (limit.pause_after(count) == 0) == (count < free)


# --- passwords ----------------------------------------------------------------------------------


@pytest.fixture
def passwords(key: hsm.HmacKey, clock: SettableClock, randomness: Randomness) -> Passwords:
    return Passwords(key, clock, randomness, cost=CHEAP)


def _set(database: Database, passwords: Passwords, account: str, password: str) -> None:
    with database.write() as session:
        passwords.set(session, account, password)


def _is(database: Database, passwords: Passwords, account: str | None, password: str) -> bool:
    with database.read() as session:
        return passwords.check(session, account, password)


@pytest.mark.requirement("REG-2")
@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("Ab1!xyz", "password-rules"),
        ("abcd1234!", "password-rules"),
        ("ABCD1234!", "password-rules"),
        ("Abcdefgh!", "password-rules"),
        ("Abcdefg1 2", "password-rules"),
        ("Password1!", "password-common"),
        ("P@ssw0rd!", "password-common"),
        ("Qwertyuiop1!", "password-common"),
        ("!!Dragon2024!!", "password-common"),
        ("Aa1!" + "x" * 125, "password-too-long"),
    ],
)
def test_passwords_that_break_a_rule_are_refused(password: str, code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        require_good(password)
    assert refusal.value.code == code


@pytest.mark.requirement("REG-2")
@pytest.mark.parametrize("password", ["Kdor-čaka7", "Žaba.skače.9x", "Aa1!" + "zebra-lok-" * 12, "Ðurđa7#vrt"])
def test_good_passwords_are_accepted_in_any_letters_up_to_128_characters(password: str) -> None:
    require_good(password)
    assert judge(password).kept


@pytest.mark.requirement("REG-2")
def test_the_persons_own_address_makes_no_password() -> None:
    with pytest.raises(Invalid, match="password-common"):
        require_good("Ana.Novak7!", ("ana.novak@primer.si", "ana.novak", "novak"))


@pytest.mark.requirement("REG-2")
def test_the_rules_tick_off_one_by_one_and_strength_is_shown() -> None:
    rules = judge("abc")
    assert (rules.length, rules.lower, rules.upper, rules.digit, rules.special) == (False, True, False, False, False)
    assert judge("").strength == 0
    assert judge("Password1!").strength < judge("Modra-Skleda7-in-rdeč-vrč").strength
    assert judge("x" * 500).strength >= 0


@given(st.text(max_size=200))
@settings(max_examples=60)
def test_any_text_is_judged_without_failing(text: str) -> None:
    rules = judge(text)
    assert 0 <= rules.strength <= 4
    assert rules.kept or not rules.kept


@pytest.mark.requirement("SEC-1")
def test_a_password_is_salted_argon2id_under_an_hmac_of_the_token(
    database: Database, passwords: Passwords, key: hsm.HmacKey
) -> None:
    _set(database, passwords, "a", "Modra-Skleda7")
    _set(database, passwords, "b", "Modra-Skleda7")
    with database.read() as session:
        one, two = session.get_one(PasswordRow, "a"), session.get_one(PasswordRow, "b")
        assert one.salt != two.salt
        assert one.mac != two.mac
        raw = hash_secret_raw(b"Modra-Skleda7", one.salt, 1, 8, 1, 32, Type.ID, 19)
        assert one.mac == key.mac(framed("password", "a", one.parameters, one.salt, raw))


@pytest.mark.requirement("SEC-1")
def test_the_default_cost_is_that_of_rfc_9106() -> None:
    assert str(Cost()) == "argon2id,v=19,m=65536,t=3,p=4"
    assert Cost.parse(str(Cost())) == Cost()


def test_only_the_right_password_of_the_right_account_is_right(database: Database, passwords: Passwords) -> None:
    _set(database, passwords, "a", "Modra-Skleda7")
    _set(database, passwords, "b", "Rdeča-Skleda7")
    assert _is(database, passwords, "a", "Modra-Skleda7")
    assert not _is(database, passwords, "b", "Modra-Skleda7")
    assert not _is(database, passwords, "a", "modra-skleda7")
    assert not _is(database, passwords, "nobody", "Modra-Skleda7")
    assert not _is(database, passwords, None, "Modra-Skleda7")
    assert _is(database, passwords, "b", "Rdec\u030ca-Skleda7"), "a composed letter is a decomposed one"


def test_a_record_moved_to_another_account_opens_nothing(database: Database, passwords: Passwords) -> None:
    _set(database, passwords, "a", "Modra-Skleda7")
    with database.write() as session:
        row = session.get_one(PasswordRow, "a")
        session.add(
            PasswordRow(account_id="b", parameters=row.parameters, salt=row.salt, mac=row.mac, changed=row.changed)
        )
    assert not _is(database, passwords, "b", "Modra-Skleda7")


@pytest.mark.requirement("SEC-2")
def test_an_unknown_account_costs_the_same_work(
    database: Database, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(database, passwords, "a", "Modra-Skleda7")
    costs: list[tuple[object, ...]] = []

    def counted(secret: bytes, salt: bytes, *cost: int, **named: object) -> bytes:
        costs.append((len(secret), len(salt), *cost))
        return hash_secret_raw(secret, salt, *cost, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("tsp.idp.credentials.password.hash_secret_raw", counted)
    for typed in ("Modra-Skleda8", "", "x" * 512, "x" * 513, "x" * 60_000):
        costs.clear()
        assert not _is(database, passwords, "a", typed)
        assert not _is(database, passwords, None, typed)
        assert len(costs) == 2
        assert costs[0] == costs[1], len(typed)


def test_a_right_password_is_kept_anew_when_the_cost_has_risen(
    database: Database, passwords: Passwords, key: hsm.HmacKey, clock: SettableClock, randomness: Randomness
) -> None:
    _set(database, passwords, "a", "Modra-Skleda7")
    dearer = Passwords(key, clock, randomness, cost=replace(CHEAP, memory=16))
    assert _is(database, dearer, "a", "Modra-Skleda7")
    with database.write() as session:
        assert dearer.renew(session, "a", "Modra-Skleda7")
        assert not dearer.renew(session, "a", "Modra-Skleda7")
        assert session.get_one(PasswordRow, "a").parameters.startswith("argon2id,v=19,m=16")
    assert _is(database, passwords, "a", "Modra-Skleda7")
    with database.write() as session:
        passwords.forget(session, "a")
    assert not _is(database, passwords, "a", "Modra-Skleda7")


@pytest.mark.requirement("REG-2")
def test_breached_passwords_of_the_operators_file_are_refused(
    tmp_path: Path, key: hsm.HmacKey, clock: SettableClock, randomness: Randomness
) -> None:
    known = [f"Geslo-{number}!Xy" for number in range(200)]
    hashes = sorted(hashlib.sha1(p.encode(), usedforsecurity=False).hexdigest().upper() for p in known)
    file = tmp_path / "breached.txt"
    for ending in (":17\n", "\n", ":1234567\r\n"):
        file.write_bytes("".join(h + ending for h in hashes).encode())
        breached = BreachedFile(file)
        assert all(password in breached for password in known)
        assert not any(password + "x" in breached for password in known)
    passwords = Passwords(key, clock, randomness, cost=CHEAP, breached=breached)
    with pytest.raises(Invalid, match="password-breached"):
        passwords.require_good(known[0])
    passwords.require_good("Modra-Skleda7")


@given(st.sets(st.text(min_size=1, max_size=8), max_size=40), st.text(min_size=1, max_size=8))
@settings(max_examples=60)
def test_the_search_finds_exactly_what_is_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, known: set[str], asked: str
) -> None:
    hashes = sorted(hashlib.sha1(p.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest() for p in known)
    file = tmp_path_factory.mktemp("breached") / "list"
    file.write_text("\n".join(hashes))
    breached = BreachedFile(file)
    assert all(password in breached for password in known)
    assert (asked in breached) == (asked in known)


# --- PUK ----------------------------------------------------------------------------------------


@pytest.mark.requirement("REG-3")
def test_a_puk_has_eight_letters_and_digits_and_is_kept_as_an_hmac(
    database: Database, gate: Gate, key: hsm.HmacKey, clock: SettableClock, randomness: Randomness
) -> None:
    puks = Puks(key, gate, clock, randomness)
    made = [puks.new() for _ in range(200)]
    assert all(len(puk) == 8 and any(c.isdigit() for c in puk) and any(c.isalpha() for c in puk) for puk in made)
    assert not set("".join(made)) & set("0O1IL")
    with database.write() as session:
        puks.set(session, "a", made[0])
    with database.read() as session:
        assert session.get_one(PukRow, "a").mac == key.mac(framed("puk", "a", made[0]))
    assert len(Puks(key, gate, clock, randomness, length=16).new()) == 16


@pytest.mark.requirement("REG-3", "OPS-2")
@pytest.mark.parametrize("replaced", [False, True], ids=["forgotten", "replaced"])
def test_of_five_who_use_the_same_puk_one_wins(
    database: Database, key: hsm.HmacKey, clock: SettableClock, randomness: Randomness, replaced: bool
) -> None:
    gate = Gate(database, clock)
    puks = Puks(key, gate, clock, randomness)
    puk, start = puks.new(), threading.Barrier(5)
    with database.write() as session:
        puks.set(session, "a", puk)

    def contend(_number: int) -> bool:
        attempt = gate.attempt((Factor.PUK, "a"))
        start.wait()
        with database.write() as session:
            right = puks.check(session, attempt, "a", puk)
            if right and replaced:
                puks.set(session, "a", puks.new())
            elif right:
                puks.forget(session, "a")
            return right

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(contend, range(5))).count(True) == 1


@pytest.mark.requirement("LOG-2", "OPS-2")
def test_of_five_attempts_at_once_each_is_counted(database: Database, gate: Gate) -> None:
    start = threading.Barrier(5)

    def attempt(_number: int) -> str:
        start.wait()
        try:
            gate.attempt((Factor.PUK, "a"))
        except TooMany as error:
            return error.code
        return "counted"

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(attempt, range(5)))
    # The limit of these tests lets three through, and the one that reaches it is counted with them.
    with database.read() as session:
        counted = session.get_one(AttemptLimit, (Factor.PUK.value, "a")).count
    assert outcomes.count("counted") == counted == LIMIT.free
    assert outcomes.count("too-many-attempts") == 5 - LIMIT.free


@pytest.mark.requirement("REG-3")
def test_a_puk_is_checked_behind_the_gate_and_a_new_one_ends_the_old(
    database: Database, gate: Gate, key: hsm.HmacKey, clock: SettableClock, randomness: Randomness
) -> None:
    puks = Puks(key, gate, clock, randomness)
    first, second = puks.new(), puks.new()
    with database.write() as session:
        puks.set(session, "a", first)

    def check(account: str, puk: str) -> bool:
        attempt = gate.attempt((Factor.PUK, account))
        with database.write() as session:
            return puks.check(session, attempt, account, puk)

    assert check("a", f" {first[:4].lower()}-{first[4:]} ")
    assert not check("b", first)
    with database.write() as session:
        puks.set(session, "a", second)
    assert not check("a", first)
    assert check("a", second), "a success before has wiped the count"
    with database.write() as session:
        puks.forget(session, "a")
        assert not puks.has(session, "a")
    assert not check("a", second)
    for _ in range(2):
        assert not check("a", first)
    with pytest.raises(TooMany):
        check("a", first)


# --- index --------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.text(max_size=12), st.binary(max_size=12)), max_size=5))
def test_framing_is_unambiguous(parts: list[str | bytes]) -> None:
    whole = framed(*parts)
    read: list[bytes] = []
    while whole:
        size = int.from_bytes(whole[:4], "big")
        read.append(whole[4 : 4 + size])
        whole = whole[4 + size :]
    assert read == [p.encode() if isinstance(p, str) else p for p in parts]


def test_an_index_tells_kinds_apart(key: hsm.HmacKey) -> None:
    index = Index(key)
    assert index.of("email", "x") == index.of("email", "x")
    assert index.of("email", "x") != index.of("phone", "x")
    assert len(index.of("email", "x")) == 43


@pytest.mark.requirement("SEC-1")
def test_a_token_that_is_gone_is_a_pause_and_not_a_crash(
    database: Database, gate: Gate, token_factory: TokenFactory, clock: SettableClock, randomness: Randomness
) -> None:
    token = token_factory("identity")
    key = token.generate_hmac_key("code-hmac")
    codes = Codes(database, key, gate, clock, randomness)
    code = _issue(database, codes)
    token.close()
    attempt = codes.attempt("login", "login-1")
    with pytest.raises(Unavailable, match="token-unavailable"), database.write() as session:
        codes.check(session, attempt, b"digest", code)
    with pytest.raises(Unavailable, match="token-unavailable"):
        Index(key).of("email", EMAIL)
