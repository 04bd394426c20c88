"""Relying parties: what each may ask, where answers may go, and with which key it proves itself.

One file per client under `conf/relying-parties/`, read at start; unknown keys are refused. A client's
public key stands in the file (`jwk`) or in a file of the installation (`jwks_file`, relative to `var`),
as a JWK or a JWK set (RFC 7517).
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tsp.core.errors import Invalid
from tsp.idp.accounts.assurance import Level
from tsp.idp.oidc.claims import CLAIMS, SCOPES

GrantType = Literal["authorization_code", "client_credentials"]
Kind = Literal["advanced", "advanced-qualified", "qualified"]
#: The scope under which a branch may ask for identification keys.
BRANCH_SCOPE = "identification-keys"
#: The scope under which an organisation's registration officers may revoke certificates.
REVOCATION_SCOPE = "revocations"
#: The scope under which auditors and operators may look into the inventory of certificates.
INVENTORY_SCOPE = "inventory"
#: Scopes of clients that speak for themselves.
CLIENT_SCOPES = frozenset({BRANCH_SCOPE, REVOCATION_SCOPE, INVENTORY_SCOPE})


def _address(value: str) -> str:
    """An absolute address that answers may go to: exact, without fragment (RFC 6749, 3.1.2)."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "#" in value or "@" in parts.netloc:
        raise ValueError("must be an absolute http(s) address without fragment")
    if "*" in value or any(c <= " " or c > "~" for c in value):
        raise ValueError("must be one exact address of printable ASCII")
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("must use https (http is for localhost only)")
    return value


def _known(names: frozenset[str], what: str) -> Any:
    def check(values: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(values) - names):
            raise ValueError(f"unknown {what} {unknown[0]}; known are {', '.join(sorted(names))}")
        return values

    return AfterValidator(check)


Address = Annotated[str, AfterValidator(_address)]
Scopes = Annotated[tuple[str, ...], _known(frozenset(SCOPES) | CLIENT_SCOPES, "scope")]
ClaimNames = Annotated[tuple[str, ...], _known(frozenset(CLAIMS), "claim")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalName(_Strict):
    """The service's name in both languages."""

    sl: str = Field(min_length=1, max_length=80)
    en: str = Field(min_length=1, max_length=80)


class Contact(_Strict):
    """Whom a person asks about this service (LOG-1)."""

    email: str = Field(min_length=3, max_length=120)
    phone: str = Field(default="", max_length=40)


class OrganisationName(_Strict):
    """Whose service it is; the id names its row in the table `organisation`."""

    id: str = Field(pattern=r"^[a-z0-9-]{2,64}$")
    name: str = Field(min_length=2, max_length=200)


class _File(_Strict):
    """A relying party's file, as it is written."""

    client_id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{1,63}$")
    name: LocalName
    organisation: OrganisationName
    support: Contact
    terms_url: Address = ""
    policy_url: Address = ""
    grants: tuple[GrantType, ...] = Field(default=("authorization_code",), min_length=1)
    redirect_uris: tuple[Address, ...] = ()
    post_logout_redirect_uris: tuple[Address, ...] = ()
    jwks_file: str = ""
    jwk: dict[str, str] = {}
    sector: str = Field(default="", max_length=200)
    minimum_acr: Literal["low", "substantial", "high"] = "low"
    scopes: Scopes = ("openid",)
    claims: ClaimNames = ()
    required_data: bool = False
    signature_kinds: tuple[Kind, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> "_File":
        if bool(self.jwks_file) == bool(self.jwk):
            raise ValueError("exactly one of jwks_file and jwk is needed")
        if "authorization_code" in self.grants and not self.redirect_uris:
            raise ValueError("redirect_uris: the grant authorization_code needs one")
        own = sorted(CLIENT_SCOPES.intersection(self.scopes))
        if own and "client_credentials" not in self.grants:
            raise ValueError(f"scopes: {own[0]} needs the grant client_credentials")
        return self


@dataclass(frozen=True)
class Client:
    """One relying party as the provider uses it."""

    client_id: str
    names: Mapping[str, str]
    organisation_id: str
    organisation_name: str
    support_email: str
    support_phone: str
    terms_url: str
    policy_url: str
    grants: frozenset[GrantType]
    redirect_uris: frozenset[str]
    post_logout_redirect_uris: frozenset[str]
    keys: KeySet = field(repr=False)
    #: Clients of one sector see the same `sub` for a person (OpenID Connect Core, 8.1).
    sector: str
    minimum_acr: Level
    scopes: frozenset[str]
    claims: frozenset[str]
    required_data: bool
    signature_kinds: frozenset[Kind]

    def name(self, language: str) -> str:
        """The service's name for a page in this language."""
        return self.names.get(language) or self.names["sl"]

    @property
    def origins(self) -> tuple[str, ...]:
        """Where a browser may be sent with an answer, for the page's form-action."""
        addresses = self.redirect_uris | self.post_logout_redirect_uris
        return tuple(sorted({"{0.scheme}://{0.netloc}".format(urlsplit(a)) for a in addresses}))


class Clients:
    """The relying parties of this installation."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._clients = dict(clients)

    def get(self, client_id: str) -> Client | None:
        return self._clients.get(client_id)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients.values())


def load_clients(directory: Path, var: Path, *, production: bool = False) -> Clients:
    """Reads every `*.toml` of the directory.

    Raises `Invalid` (relying-party-invalid) whose sentence names file and key. Production refuses
    plain http addresses.
    """
    clients: dict[str, Client] = {}
    for path in sorted(directory.glob("*.toml")):
        client = _load(path, var)
        if client.client_id in clients:
            raise _bad(path, f"client_id: {client.client_id} stands in two files")
        if production and any(a.startswith("http://") for a in client.redirect_uris | client.post_logout_redirect_uris):
            raise _bad(path, "redirect_uris: production needs https")
        clients[client.client_id] = client
    return Clients(clients)


def _load(path: Path, var: Path) -> Client:
    try:
        read = _File.model_validate(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(path, f"not TOML: {error}") from None
    except ValidationError as error:
        raise _bad(path, "; ".join(_explain(detail) for detail in error.errors())) from None
    return Client(
        client_id=read.client_id,
        names={"sl": read.name.sl, "en": read.name.en},
        organisation_id=read.organisation.id,
        organisation_name=read.organisation.name,
        support_email=read.support.email,
        support_phone=read.support.phone,
        terms_url=read.terms_url,
        policy_url=read.policy_url,
        grants=frozenset(read.grants),
        redirect_uris=frozenset(read.redirect_uris),
        post_logout_redirect_uris=frozenset(read.post_logout_redirect_uris),
        keys=_keys(path, read, var),
        sector=read.sector or read.client_id,
        minimum_acr=Level.parse(read.minimum_acr),
        scopes=frozenset(read.scopes),
        claims=frozenset(read.claims),
        required_data=read.required_data,
        signature_kinds=frozenset(read.signature_kinds),
    )


def _keys(path: Path, read: _File, var: Path) -> KeySet:
    """The client's public P-256 keys; a private key in a relying party's file is an accident that is refused."""
    try:
        raw: Any = json.loads((var / read.jwks_file).read_text()) if read.jwks_file else read.jwk
        listed = raw.get("keys", [raw])
        if not listed or len(listed) > 8:
            raise ValueError("between one and eight keys are needed")
        keys = [ECKey.import_key(jwk) for jwk in listed]
        if any(key.is_private for key in keys):
            raise ValueError("a private key does not belong here")
        if any(key.curve_name != "P-256" for key in keys):
            raise ValueError("only P-256 keys are accepted (ES256)")
    except FileNotFoundError:
        raise _bad(
            path, f"jwks_file: {read.jwks_file} does not exist; it is made when the installation is set up"
        ) from None
    except (JoseError, ValueError, AttributeError, TypeError) as error:
        raise _bad(path, f"{'jwks_file' if read.jwks_file else 'jwk'}: {error}") from None
    return KeySet(list(keys))


def _explain(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "file"
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg']}"
    return f"{where}: unknown key; known are {', '.join(sorted(_File.model_fields))}"


def _bad(path: Path, why: str) -> Invalid:
    return Invalid("relying-party-invalid", f"{path.name}: {why}", file=path.name)
