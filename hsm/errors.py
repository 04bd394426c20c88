"""What can go wrong with a token, each with the advice that an operator needs."""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from hsm.keys import DestructionRecord


class HsmError(Exception):
    """Base of the family: a stable `code` and an English sentence on what to do."""

    def __init__(self, code: str, advice: str) -> None:
        super().__init__(f"{code}: {advice}")
        self.code = code
        self.advice = advice


class NamedError(HsmError):
    """An error whose class fixes its code."""

    fixed_code: ClassVar[str]

    def __init__(self, advice: str) -> None:
        super().__init__(self.fixed_code, advice)


class ModuleMissing(NamedError):
    fixed_code = "module-missing"


class TokenMissing(NamedError):
    fixed_code = "token-missing"


class TokenExists(NamedError):
    fixed_code = "token-exists"


class PinWrong(NamedError):
    fixed_code = "pin-wrong"


class PinLocked(NamedError):
    fixed_code = "pin-locked"


class PinAtLastTry(NamedError):
    """One more wrong PIN would lock the token: nothing here takes that risk."""

    fixed_code = "pin-at-last-try"


class TokenFull(NamedError):
    """The token has no room for another object or session."""

    fixed_code = "token-full"


class TokenBusy(NamedError):
    """Every session of the pool stayed in use for the whole waiting time."""

    fixed_code = "token-busy"


class TokenGone(NamedError):
    """The token, its module or its login went away after it was opened."""

    fixed_code = "token-gone"


class MechanismMissing(NamedError):
    fixed_code = "mechanism-missing"


class KeyMissing(NamedError):
    fixed_code = "key-missing"


class KeyExists(NamedError):
    fixed_code = "key-exists"


class KeySpent(NamedError):
    """A one-time key was asked for a second signature, or after its end."""

    fixed_code = "key-spent"


class KeyUnfit(NamedError):
    """The token made or holds a key without the attributes that were demanded."""

    fixed_code = "key-unfit"


class DecryptionFailed(NamedError, ValueError):
    """The ciphertext, the nonce or the associated data are not what was encrypted.

    Also a `ValueError`, for callers that know only that a key of this shape decrypts.
    """

    fixed_code = "decryption-failed"


class TokenFailure(NamedError):
    """The token answered with an error that has no name of its own here."""

    fixed_code = "token-failure"


class DestructionFailed(NamedError):
    """It is not certain that a one-time key is gone. `record` says what was seen."""

    fixed_code = "destruction-failed"

    def __init__(self, advice: str, record: "DestructionRecord") -> None:
        super().__init__(advice)
        self.record = record
