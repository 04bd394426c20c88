"""Relying parties' files: read strictly, with the key they prove themselves by."""

import json
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, OctKey

from tests.idp.login_kit import FILES, ROOT
from tsp.core.errors import Invalid
from tsp.idp.accounts.assurance import Level
from tsp.idp.oidc.clients import load_clients


def written(directory: Path, replaced: dict[str, str] | None = None) -> Path:
    """The portal's file in `directory`, with some of its lines replaced."""
    public = ECKey.generate_key("P-256").as_dict(private=False)
    jwk = "{ " + ", ".join(f'{k} = "{v}"' for k, v in public.items()) + " }"
    text = FILES["test-portal"].format(jwk=jwk)
    for old, new in (replaced or {}).items():
        text = "\n".join(new if line.startswith(f"{old} =") else line for line in text.splitlines())
    path = directory / "test-portal.toml"
    path.write_text(text)
    return path


@pytest.mark.requirement("LOG-7")
def test_the_installations_own_relying_parties_load(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    for path in (ROOT / "conf" / "relying-parties").glob("*.toml"):
        for line in path.read_text().splitlines():
            if line.startswith("jwks_file"):
                key = ECKey.generate_key("P-256").as_dict(private=False)
                (tmp_path / line.partition('"')[2].rstrip('"')).write_text(json.dumps(key))
    clients = load_clients(ROOT / "conf" / "relying-parties", tmp_path)
    sign, branch = clients.get("enkrat-sign"), clients.get("sandbox-branch")
    assert sign is not None
    assert branch is not None
    assert sign.signature_kinds == {"advanced", "advanced-qualified", "qualified"}
    assert sign.minimum_acr is Level.SUBSTANTIAL
    assert branch.scopes == {"identification-keys", "revocations"}
    assert branch.grants == {"client_credentials"}


@pytest.mark.requirement("LOG-7")
@pytest.mark.parametrize(
    ("line", "text", "names"),
    [
        ("client_id", 'client_id = "Test Portal"', "client_id"),
        ("client_id", "client_id = 7", "client_id"),
        ("support", 'support = { email = "a@b.test", fax = "1" }', "support.fax"),
        ("support", 'unheard_of = "x"\nsupport = { email = "a@b.test" }', "unknown key"),
        ("redirect_uris", "redirect_uris = []", "redirect_uris"),
        ("redirect_uris", 'redirect_uris = ["http://portal.test/callback"]', "https"),
        ("redirect_uris", 'redirect_uris = ["https://portal.test/callback#x"]', "fragment"),
        ("redirect_uris", 'redirect_uris = ["https://*.portal.test/callback"]', "exact"),
        ("redirect_uris", 'redirect_uris = ["https://user@portal.test/"]', "absolute"),
        ("redirect_uris", 'redirect_uris = ["javascript:alert(1)"]', "absolute"),
        ("scopes", 'scopes = ["openid", "everything"]', "unknown scope everything"),
        ("scopes", 'scopes = ["openid", "identification-keys"]', "client_credentials"),
        ("claims", 'claims = ["shoe_size"]', "unknown claim shoe_size"),
        ("jwk", "", "exactly one of"),
        ("jwk", 'jwks_file = "nowhere.json"', "does not exist"),
        ("jwk", 'jwk = { kty = "EC", crv = "P-256", x = "x", y = "y" }', "jwk"),
        ("name", 'name = { sl = "Portal" }', "name.en"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, line: str, text: str, names: str) -> None:
    written(tmp_path, {line: text})
    with pytest.raises(Invalid) as refused:
        load_clients(tmp_path, tmp_path)
    assert refused.value.code == "relying-party-invalid"
    assert "test-portal.toml" in refused.value.sentence
    assert names in refused.value.sentence


@pytest.mark.requirement("SEC-1")
@pytest.mark.parametrize(
    "key",
    [
        ECKey.generate_key("P-256").as_dict(private=True),
        ECKey.generate_key("P-384").as_dict(private=False),
        OctKey.generate_key(256).as_dict(private=True),
        {"keys": []},
        {"keys": [ECKey.generate_key("P-256").as_dict(private=False)] * 9},
        [],
        "nonsense",
    ],
)
def test_only_public_p256_keys_are_registered(tmp_path: Path, key: object) -> None:
    written(tmp_path, {"jwk": 'jwks_file = "key.json"'})
    (tmp_path / "key.json").write_text(json.dumps(key))
    with pytest.raises(Invalid, match="jwks_file"):
        load_clients(tmp_path, tmp_path)


def test_a_set_with_an_old_and_a_new_key_is_accepted(tmp_path: Path) -> None:
    written(tmp_path, {"jwk": 'jwks_file = "keys.json"'})
    keys = [ECKey.generate_key("P-256").as_dict(private=False) for _ in range(2)]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}))
    client = load_clients(tmp_path, tmp_path).get("test-portal")
    assert client is not None
    assert len(client.keys.keys) == 2


def test_one_client_id_in_two_files_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "zweite.toml").write_text(path.read_text())
    with pytest.raises(Invalid, match="stands in two files"):
        load_clients(tmp_path, tmp_path)


@pytest.mark.requirement("SEC-2")
def test_production_refuses_plain_http(tmp_path: Path) -> None:
    written(tmp_path)
    load_clients(tmp_path, tmp_path)
    with pytest.raises(Invalid, match="production needs https"):
        load_clients(tmp_path, tmp_path, production=True)
