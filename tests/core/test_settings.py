"""Configuration: what is refused, and whether the sentence helps."""

from pathlib import Path

import pytest

from tsp.core.errors import Invalid
from tsp.core.settings import default_config, load_settings


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
        ("sources = []", 'sources = ["a.si", "a.si"]', "every time source counts once"),
        ('qtsa = "http://localhost:8407"', 'qtsa = "http://localhost:8403"', "an address of their own"),
        ("sources = []", 'sources = ["a b"]', "time.sources.0: "),
        ("sources = []", 'sources = ["a.si:123"]\ntolerance_ms = 500', "below tsa.accuracy_ms"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        load_settings(_changed(tmp_path, old, new))
    assert words in caught.value.sentence
    assert "tsp.toml" in caught.value.sentence


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="does not exist"):
        load_settings(tmp_path / "nothing.toml")
