"""A token lost under each face, PINs that a token refuses, and how the process gets its token back."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import TokenFlag

import hsm
from hsm import KeySpec, Token, softhsm
from hsm.errors import PinAtLastTry, PinLocked, TokenGone
from hsm.probe import is_back
from tests.conftest import TokenFactory
from tests.engine.engine_kit import Provider, Room, certify_issuer
from tests.faults.faces import Faces, moved_away, page_code, stored_token
from tests.formats.pdf_samples import classic, objects
from tests.ocsp import conftest as ocsp
from tests.ocsp.conftest import GOOD, Responder
from tests.tsa import conftest as tsa
from tests.tsa.conftest import Unit
from tsp.core.clock import SettableClock
from tsp.core.database import Database
from tsp.core.errors import Unavailable
from tsp.core.sealing import Sealer
from tsp.core.settings import Settings, load_settings
from tsp.runtime import Runtime, token_label
from tsp.serving import with_health
from tsp.token_watch import TokenWatch

pytestmark = pytest.mark.requirement("OPS-1")
make_responder, responder, make_unit, unit = ocsp.make_responder, ocsp.responder, tsa.make_unit, tsa.unit
ROOT = Path(__file__).resolve().parents[2]
PIN = "123456-test"


# --- what each face answers while its token is away -------------------------------------------------


def test_the_responder_says_try_later(responder: Responder, softhsm_directory: Path) -> None:
    client = responder.client()
    with moved_away(stored_token(softhsm_directory, responder.token)):
        for _ in range(3):
            assert ocsp.ask(client, responder.query(GOOD)).response_status.name == "TRY_LATER"


def test_the_time_stamping_unit_says_system_failure(unit: Unit, softhsm_directory: Path) -> None:
    client = unit.client()
    with moved_away(stored_token(softhsm_directory, unit.token)):
        for _ in range(3):
            assert tsa.refusal_of(tsa.ask(client, tsa.query(bytes(32)))) == {"system_failure"}


@pytest.mark.requirement("SIG-1")
def test_the_engine_signs_nothing_and_frees_the_approval(
    tmp_path: Path, database: Database, clock: SettableClock, token_factory: TokenFactory, softhsm_directory: Path
) -> None:
    provider, token = Provider(clock), token_factory("ca")
    room = Room(tmp_path, database, token, certify_issuer(token, clock), clock, provider.key)
    request = provider.request("contract")
    with room.engine() as engine, moved_away(stored_token(softhsm_directory, token)):
        for _ in range(2):
            with pytest.raises(Unavailable, match="hsm-unavailable"):
                engine.sign(request)
        with pytest.raises(Unavailable, match="hsm-unavailable"):
            engine.status()  # an absent token is not told as "no key alive"
    other = token_factory("ca")  # a new process would open the same one; this one has lost it for good
    again = Room(tmp_path, database, other, certify_issuer(other, clock), clock, provider.key)
    with again.engine() as engine:
        (result,) = engine.sign(request)
    assert result.evidence["attempt"]["number"] == 3


@pytest.mark.requirement("SIG-7")
def test_the_site_and_the_identity_provider_show_a_sentence(
    faces: Faces, token_factory: TokenFactory, softhsm_directory: Path, randomness: Any
) -> None:
    site = token_factory("site")
    documents = faces.street.site.requests.documents
    documents._sealer = Sealer(site.generate_aead_key("documents"), randomness, "documents")
    faces.ana = faces.street.browser()
    faces.ana.log_in()
    path = faces.ana.bring(classic(objects(pages=1)))
    pushed = faces.world.portal.begin().url
    with moved_away(stored_token(softhsm_directory, site)):
        assert page_code(faces.ana.upload(classic(objects(pages=1)))) == "503 site-key-unavailable"
        assert page_code(faces.ana.get(path)) == "503 site-key-unavailable"
        assert page_code(faces.street.browser().get("/")) == "200"
    with moved_away(stored_token(softhsm_directory, faces.world.token)):
        assert faces.idp() == "503 temporarily_unavailable"
        assert page_code(faces.world.http.get(pushed)) == "503 token-unavailable"
        assert faces.idp_page("/register") == "200"


# --- coming back ------------------------------------------------------------------------------------


def test_a_lost_token_stays_lost_for_its_process_and_is_found_by_a_new_one(
    token_factory: TokenFactory, softhsm_directory: Path
) -> None:
    token = token_factory("back")
    key = token.generate_signing_key("k", KeySpec.P256)
    module = softhsm.find_module()
    assert not token.lost()
    with moved_away(stored_token(softhsm_directory, token)):
        assert token.lost()
        assert not is_back(module, token.label)
        with pytest.raises(TokenGone):
            token.private_keys()
    assert token.lost()
    with pytest.raises(TokenGone):
        key.sign_digest(bytes(32))
    assert is_back(module, token.label)


def test_a_login_that_ended_is_a_lost_token_too(token_factory: TokenFactory, softhsm_directory: Path) -> None:
    first = token_factory("login")
    first.generate_signing_key("k", KeySpec.P256)
    first.close()
    token = Token.open(softhsm.find_module(), first.label, PIN)
    assert not token.lost()
    token._login._anchor.close()
    token._short.close()
    token._short._closed = False  # as a device that was reset: every session and the login are gone
    assert token.lost()
    token.close()


class Fading:
    """A token that is lost at the second look."""

    label = "fading"

    def __init__(self) -> None:
        self.looks = 0

    def lost(self) -> bool:
        self.looks += 1
        return self.looks > 1


def test_the_watch_waits_for_the_token_and_then_begins_again_once() -> None:
    stop, ends, asked = threading.Event(), list[str](), list[str]()
    seen: list[str] = []

    def is_back() -> bool:
        asked.append("?")
        seen.append(watch.trouble())
        return len(asked) == 4

    watch = TokenWatch(Fading(), is_back, lambda: ends.append("again"), interval=0.0, pauses=(0.0, 0.001))
    assert watch.trouble() == ""
    watch.run(stop)
    assert (ends, len(asked), set(seen)) == (["again"], 4, {"token-gone"})


def test_the_watch_ends_with_its_process() -> None:
    stop = threading.Event()

    def is_back() -> bool:
        stop.set()
        return False

    watch = TokenWatch(Fading(), is_back, lambda: pytest.fail("not back"), interval=0.0, pauses=(0.0,))
    watch.run(stop)
    assert watch.trouble() == "token-gone"


@pytest.mark.parametrize(("troubles", "status"), [([], 200), ([lambda: ""], 200), ([lambda: "token-gone"], 503)])
def test_health_names_what_is_wrong(troubles: list[Callable[[], str]], status: int) -> None:
    from starlette.testclient import TestClient

    async def nothing(*_: object) -> None:
        raise AssertionError

    answer = TestClient(with_health(nothing, "tsa", troubles)).get("/health")
    assert answer.status_code == status
    assert answer.json().get("troubles", []) == ([] if status == 200 else ["token-gone"])


# --- PINs -------------------------------------------------------------------------------------------


@pytest.fixture
def runtime(tmp_path: Path, softhsm_directory: Path) -> Runtime:
    """An installation with the token `ocsp`, in the token store of these tests."""
    conf = (ROOT / "conf" / "tsp.toml").read_text()
    (tmp_path / "conf").mkdir()
    text = conf.replace('name = "Enkrat"', f'name = "T{os.getpid()}{len(list(softhsm_directory.rglob("*.object")))}"')
    (tmp_path / "conf" / "tsp.toml").write_text(f'{text}\n[hsm]\nmodule = "{softhsm.find_module()}"\n')
    settings: Settings = load_settings(tmp_path / "conf" / "tsp.toml")
    softhsm.create_token(softhsm_directory, token_label(settings, "ocsp"), pin=PIN, so_pin="654321-test")
    write_pin(settings, PIN)
    return Runtime(settings)


def write_pin(settings: Settings, pin: str) -> Path:
    path = settings.var / "pins" / "ocsp.pin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(pin)
    return path


def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes every PIN that is shown to a token."""
    shown: list[str] = []
    real = hsm.Token.open.__func__  # type: ignore[attr-defined]

    def noting(cls: type[Token], module: Path, label: str, pin: str, **options: Any) -> Token:
        shown.append(pin)
        opened: Token = real(cls, module, label, pin, **options)
        return opened

    monkeypatch.setattr(hsm.Token, "open", classmethod(noting))
    return shown


@pytest.mark.requirement("SEC-1")
def test_a_refused_pin_is_shown_to_the_token_once_however_often_the_role_starts(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tries(monkeypatch)
    write_pin(runtime.settings, "000000-wrong")
    for _ in range(5):
        with pytest.raises(Unavailable) as caught:
            runtime.open_token("ocsp")
        assert caught.value.code == "pin-wrong"
        assert "wrong" not in caught.value.sentence.replace("wrong PINs", "")
    assert shown == ["000000-wrong"]
    assert hsm.glance(softhsm.find_module(), token_label(runtime.settings, "ocsp")).pin_tries == "low"
    mark = runtime.settings.var / "run" / "ocsp.pin-refused"
    assert mark.stat().st_mode & 0o077 == 0
    write_pin(runtime.settings, "000000-other")
    with pytest.raises(Unavailable, match="pin-wrong"):
        runtime.open_token("ocsp")
    write_pin(runtime.settings, PIN)
    runtime.open_token("ocsp").close()
    assert not mark.exists()
    assert shown == ["000000-wrong", "000000-other", PIN]
    assert hsm.glance(softhsm.find_module(), token_label(runtime.settings, "ocsp")).pin_tries == "full"


@pytest.mark.parametrize(
    ("flag", "error"), [(TokenFlag.USER_PIN_LOCKED, PinLocked), (TokenFlag.USER_PIN_FINAL_TRY, PinAtLastTry)]
)
def test_no_pin_is_shown_to_a_token_that_is_locked_or_would_be(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, flag: TokenFlag, error: type[hsm.HsmError]
) -> None:
    """SoftHSM never counts to the end: the flag is added to what it says of the token."""
    from hsm import token as module

    found = module._find

    class Flagged:
        """The real token, but for one flag; it must not be asked to log in."""

        def __init__(self, real: Any) -> None:
            self.label, self.serial, self.flags = real.label, real.serial, real.flags | flag

        def open(self, **_: object) -> None:
            pytest.fail("a PIN was tried")

    monkeypatch.setattr(module, "_find", lambda *arguments: Flagged(found(*arguments)))
    with pytest.raises(Unavailable) as caught:
        runtime.open_token("ocsp")
    assert caught.value.code == error.fixed_code  # type: ignore[attr-defined]
    assert caught.value.sentence.endswith(".")
    monkeypatch.undo()
    runtime.open_token("ocsp").close()
