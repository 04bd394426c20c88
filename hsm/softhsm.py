"""SoftHSM: the token in software for the demo and the tests. Never a token for production."""

import os
import shutil
from pathlib import Path

import pkcs11
from pkcs11 import TokenFlag

from hsm import loader
from hsm.errors import ModuleMissing, TokenExists, TokenFailure, TokenMissing
from hsm.pool import translate

#: The environment variable by which SoftHSM finds its configuration.
CONFIGURATION = "SOFTHSM2_CONF"
_MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)
_TEXT = """directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


def find_module() -> Path:
    """Where SoftHSM is installed. Raises `ModuleMissing`."""
    for path in _MODULES:
        if path.is_file():
            return path
    raise ModuleMissing("SoftHSM is not installed. Install the package softhsm2, or name another PKCS#11 module.")


def configure(directory: Path) -> Path:
    """Makes this process and its children keep SoftHSM tokens under `directory`; returns the configuration file.

    Writes `directory/softhsm2.conf` and `directory/tokens` (both for the owner only). Where the module
    is already running on another directory it is stopped: tokens opened before are gone.
    """
    directory = directory.absolute()
    tokens = directory / "tokens"
    tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    file = directory / "softhsm2.conf"
    text = _TEXT.format(tokens=tokens)
    if not file.is_file() or file.read_text() != text:
        file.touch(mode=0o600)
        file.write_text(text)
    if os.environ.get(CONFIGURATION) != str(file):
        loader.stop_all()
        os.environ[CONFIGURATION] = str(file)
    return file


def create_token(directory: Path, label: str, pin: str, so_pin: str) -> str:
    """Makes an empty token named `label` (at most 32 bytes) and sets both PINs; returns its serial.

    Calls `configure(directory)`. The PINs never show in a command line. Raises `TokenExists`.
    """
    if not 1 <= len(label.encode()) <= 32:
        raise ValueError("a token label has 1 to 32 bytes")
    if not (4 <= len(pin.encode()) <= 255 and 4 <= len(so_pin.encode()) <= 255):
        raise ValueError("a SoftHSM PIN has 4 to 255 bytes")
    configure(directory)
    module = loader.load(find_module())
    try:
        tokens = module.tokens()
        if any(token.label == label for token in tokens):
            raise TokenExists(f"There is already a token named '{label}'. Use it, or choose another name.")
        # SoftHSM always offers one more slot with an empty token in it.
        slot = next(token.slot for token in tokens if not token.flags & TokenFlag.TOKEN_INITIALIZED)
        result = module.library.init_token(slot.slot_id, so_pin, label)
        if result != 0:
            raise TokenFailure(
                f"SoftHSM did not make token '{label}' (C_InitToken gave 0x{result:x}). Check that its directory "
                "can be written and that the disk is not full."
            )
        token = slot.get_token()
        with token.open(rw=True, so_pin=so_pin) as session:
            session.init_pin(pin)
        return str(token.serial.decode("ascii"))
    except pkcs11.PKCS11Error as error:
        raise translate(error, label) from error


def delete_token(directory: Path, label: str) -> None:
    """Erases the token named `label` with all its keys, and stops the module (open tokens are gone).

    Calls `configure(directory)`. Raises `TokenMissing`.
    """
    configure(directory)
    module = loader.load(find_module())
    try:
        serials = [token.serial.decode("ascii") for token in module.tokens() if token.label == label]
    except pkcs11.PKCS11Error as error:
        raise translate(error, label) from error
    if not serials:
        raise TokenMissing(f"No token is named '{label}'. Check the name and the token directory.")
    module.stop()
    for serial in serials:
        # SoftHSM names a token's directory by a UUID whose last 16 digits are the serial number.
        for found in (directory.absolute() / "tokens").glob(f"*-{serial[:4]}-{serial[4:]}"):
            shutil.rmtree(found)
