"""Keys in a PKCS#11 token: the only code that imports `pkcs11`. Knows nothing of trust services.

    with Token.open(softhsm.find_module(), "ca", pin) as token:
        with token.one_time_key() as key:
            signature = key.sign_digest(digest)
        key.record.proven  # destroyed, and looked for from another session

Every error is an `errors.HsmError` with the advice that an operator needs.
"""

from hsm import errors, softhsm
from hsm.errors import HsmError
from hsm.keys import Attributes, DestructionRecord, KeyHandleInfo, OneTimeKey, SigningKey
from hsm.secrets import AeadKey, HmacKey
from hsm.spec import KeySpec
from hsm.token import Token, TokenGlance, TokenState, glance

__all__ = [
    "AeadKey",
    "Attributes",
    "DestructionRecord",
    "HmacKey",
    "HsmError",
    "KeyHandleInfo",
    "KeySpec",
    "OneTimeKey",
    "SigningKey",
    "Token",
    "TokenGlance",
    "TokenState",
    "errors",
    "glance",
    "softhsm",
]
