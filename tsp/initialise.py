"""Makes an installation: directories, tokens with random PINs, keys, the key ceremony, the database.

In demo mode everything is built in a directory beside the final one and renamed at the end: an
installation is whole or not there. In production the tokens exist already (the vendor's tools made
them); `init` makes the missing keys in them, and the ceremony runs apart.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import hsm
from hsm import KeySpec, softhsm
from hsm.errors import HsmError, KeyExists
from tsp import schema
from tsp.ca.holding import hold_with_demo_officers
from tsp.core.database import Database
from tsp.core.errors import Conflict, Unavailable
from tsp.core.files import write_atomic, write_private
from tsp.core.jwk import public_jwk
from tsp.core.migrate import upgrade
from tsp.core.randomness import new_code, new_token
from tsp.core.settings import Settings
from tsp.parts import ceremony_context
from tsp.runtime import TOKENS, Runtime, token_label

Say = Callable[[str], None]

#: Lasting keys by token; the ceremony makes those of the authorities, of the TSU and of the responders.
_SIGNING = {
    "identity": {"idp-id-token": KeySpec.P256, "idp-approval": KeySpec.P256},
    "site": {"site-client": KeySpec.P256},
    "log": {"log-checkpoint": KeySpec.ED25519},
}
_HMAC = {"identity": ("password-hmac", "code-hmac", "index-hmac")}
_AEAD = {"identity": ("personal-data", "outbox"), "site": ("documents",)}
#: Public keys that other roles pin, by file name.
_PUBLISHED = {"idp-approval": ("identity", "idp-approval"), "sign-client": ("site", "site-client")}


def initialise(settings: Settings, say: Say) -> None:
    """Makes the installation that `settings` describe.

    Raises `Conflict` (already-initialised) where there is one, and `Unavailable` with the HSM's
    advice where a token cannot be made or opened.
    """
    if settings.var.exists():
        raise Conflict("already-initialised", f"{settings.var} exists already; nothing was changed.")
    building = settings.var.with_name(settings.var.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True, mode=0o700)
    runtime = Runtime(settings.model_copy(update={"var": building}))
    try:
        if settings.demo:
            _make_tokens(runtime, say)
        make_keys(runtime, say)
        say("Database")
        migrate(runtime)
        if settings.demo:
            say("Key ceremony, approved by the demo's officers: root and the authorities below it, their services")
            context = ceremony_context(runtime)
            hold_with_demo_officers(context)
            context.database.close()
    except HsmError as error:
        raise Unavailable(error.code, error.advice) from error
    building.rename(settings.var)
    if settings.demo:
        # The token store's configuration names its directory: written once here, before many processes read it.
        softhsm.configure(settings.var / "tokens")


def migrate(runtime: Runtime) -> None:
    """Brings the installation's database to this release's schema."""
    database = Database(runtime.settings.database_url)
    try:
        upgrade(database, schema.METADATA)
    finally:
        database.close()


def make_keys(runtime: Runtime, say: Say) -> None:
    """Makes the lasting keys that are missing and publishes the public keys that other roles pin."""
    for name in ("identity", "site", "log"):
        say(f"Keys in token {name}")
        with runtime.open_token(name) as token:
            for label, spec in _SIGNING.get(name, {}).items():
                with suppress(KeyExists):
                    token.generate_signing_key(label, spec)
            for label in _HMAC.get(name, ()):
                with suppress(KeyExists):
                    token.generate_hmac_key(label)
            for label in _AEAD.get(name, ()):
                with suppress(KeyExists):
                    token.generate_aead_key(label)
            for file, (owner, label) in _PUBLISHED.items():
                if owner == name:
                    _publish(runtime.settings.var, file, token.signing_key(label))


def _publish(var: Path, name: str, key: hsm.SigningKey) -> None:
    write_atomic(var / "public" / f"{name}.jwk.json", public_jwk(key.public_spki).encode())


def _make_tokens(runtime: Runtime, say: Say) -> None:
    var = runtime.settings.var
    say("Tokens with random PINs")
    softhsm.configure(var / "tokens")
    for name in TOKENS:
        pin, so_pin = new_token(runtime.randomness)[:24], new_code(runtime.randomness, 24)
        softhsm.create_token(var / "tokens", token_label(runtime.settings, name), pin=pin, so_pin=so_pin)
        write_private(var / "pins" / f"{name}.pin", pin.encode())
        write_private(var / "pins" / f"{name}.so-pin", so_pin.encode())
