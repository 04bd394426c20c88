"""Generations of an issuing authority: a new key and certificate take over while the old ones keep telling status.

The first generation has the role's name (`qualified`), the next ones a number behind it (`qualified-2`). The name is
everything that tells two generations apart: the file, the label of the key, the addresses, the issuer in the table.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from tsp.ca.plan import ISSUERS

T = TypeVar("T")

#: A role's last generation: names stay within the 16 characters of the certificate table.
LAST: Final = 9
#: The labels of all keys that authorities may ever have in the token `ca`.
AUTHORITY_LABELS: Final = frozenset(
    f"{issuer}{number}-ca" for issuer in ISSUERS for number in ("", *(f"-{n}" for n in range(2, LAST + 1)))
)

#: All keys that last in the token `ca`: theirs, and the one that signs the trust list.
LASTING_LABELS: Final = AUTHORITY_LABELS | {"trust-list"}


def generation_name(role: str, number: int) -> str:
    """The name of a role's generation, which counts from 1."""
    return role if number == 1 else f"{role}-{number}"


def role_of(name: str) -> str:
    """The role that a generation's name belongs to: `qualified` of `qualified-2`."""
    role, _, number = name.rpartition("-")
    return role if role in ISSUERS and number.isdecimal() else name


def responder_name(name: str) -> str:
    """The entry of the status responder of one generation; also the label of its key."""
    return f"ocsp-{name}"


class Generations(Mapping[str, T]):
    """Something by the generation's name, and for each role the generation in use. Replaced as a whole.

    Whoever iterates sees one state, whatever is taken up meanwhile in another thread.
    """

    def __init__(self, found: Mapping[str, T], in_use: Mapping[str, str] | None = None) -> None:
        self._state = dict(found), dict(in_use or {})

    def take_up(self, found: Mapping[str, T], in_use: Mapping[str, str]) -> None:
        """From now on these."""
        self._state = dict(found), dict(in_use)

    def in_use(self, role: str) -> str:
        """The name of the generation that certifies now; the role itself where there is but one."""
        return self._state[1].get(role, role)

    def __getitem__(self, name: str) -> T:
        return self._state[0][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._state[0])

    def __len__(self) -> int:
        return len(self._state[0])
