"""Configuration: what is refused, and whether the sentence helps."""

from pathlib import Path

import pytest

from tsp.core.errors import Invalid
from tsp.core.settings import default_config, load_settings
from tsp.runtime import Runtime


def _changed(tmp_path: Path, old: str, new: str) -> Path:
    text = default_config().read_text()
    assert old in text
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "tsp.toml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_demo_configuration_is_complete() -> None:
    settings = load_settings(default_config())
    assert settings.demo
    assert settings.var.is_absolute()
    assert settings.database_url.startswith("sqlite:///")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[sms]\nurl", "[sms]\nurll", "sms.urll: unknown key, did you mean url?"),
        ('mode = "demo"', 'mood = "demo"', "did you mean mode?"),
        ('mode = "demo"', 'mode = "test"', "mode: "),
        ("port = 8410", 'port = "8410"', "mail.port: "),
        ('idp = "http://localhost:8401"', 'idp = "localhost"', "must be an origin"),
        ('mode = "demo"', 'mode = "production"', "production needs https"),
        ("[provider]", "[provider", "not TOML"),
        ('key_file = "public', 'key = "x", key_file = "public', "a witness has either key or key_file"),
        ("min_witnesses = 1", "min_witnesses = 2", "min_witnesses is larger than the number of witnesses"),
        ("[mail]", '[sign]\nembedded_files = "perhaps"\n[mail]', "sign.embedded_files: "),
        ("sources = []", 'sources = ["a.si", "a.si"]', "every time source counts once"),
        ('qtsa = "http://localhost:8407"', 'qtsa = "http://localhost:8403"', "an address of their own"),
        ("sources = []", 'sources = ["a b"]', "time.sources.0: "),
        ("sources = []", 'sources = ["a.si:123"]\ntolerance_ms = 500', "below tsa.accuracy_ms"),
        ("[mail]", "[crl]\nrenewal_hours = 6\nvalidity_hours = 6\n[mail]", "renewal_hours must be less than"),
        ("[mail]", "[crl]\nshards = { qualified = 0 }\n[mail]", "crl.shards.qualified: "),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        load_settings(_changed(tmp_path, old, new))
    assert words in caught.value.sentence
    assert "tsp.toml" in caught.value.sentence


@pytest.mark.requirement("EVD-5")
def test_production_does_not_go_without_a_witness(tmp_path: Path) -> None:
    strict = _changed(tmp_path, "min_witnesses = 1", "min_witnesses = 0")
    text = strict.read_text().replace('mode = "demo"', 'mode = "production"').replace("http://", "https://")
    strict.write_text(text.replace('security = "plain"', 'security = "tls"'))
    with pytest.raises(Invalid, match=r"needs log\.witnesses and log\.min_witnesses"):
        load_settings(strict)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="does not exist"):
        load_settings(tmp_path / "nothing.toml")


@pytest.mark.requirement("SIG-5")
def test_what_one_document_may_use_arrives_at_the_worker(tmp_path: Path) -> None:
    worker = "[worker]\nseconds = 9\nprocessor_seconds = 7\nmemory_bytes = 500000000\nat_once = 2\n"
    settings = load_settings(_changed(tmp_path, "[mail]", f"{worker}[mail]"))
    limits = Runtime(settings).isolated().limits
    assert (limits.seconds, limits.processor_seconds, limits.memory, limits.jobs) == (9, 7, 500_000_000, 2)
