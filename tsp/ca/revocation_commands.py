"""`tsp certificate`: revocation by the provider, of one certificate, of all of an authority, and of an authority."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated

import typer
from asn1crypto import x509

from tsp.ca.authority import IssuingKey
from tsp.ca.commands import CeremonyContext, renew_crl
from tsp.ca.crl_reading import crl_facts
from tsp.ca.explained import explained
from tsp.ca.plan import ISSUERS
from tsp.ca.publication import CrlPublisher, CrlTerms
from tsp.ca.revocation import REASONS_OF, Requester, Revocation, Revocations, reference, typed_serial
from tsp.ca.store import CaStore
from tsp.ca.tables import serial_text
from tsp.core.errors import Invalid, TspError

#: How many certificates one transaction looks at.
_STEP = 500
_Serial = Annotated[str, typer.Argument(help="The serial number in hexadecimal digits.")]
_Issuer = Annotated[str, typer.Argument(help=f"One of: {', '.join(ISSUERS)}, or a later generation: qualified-2.")]
_Reason = Annotated[str, typer.Option(help=f"One of: {', '.join(REASONS_OF['provider'])}.")]
_Operator = Annotated[str, typer.Option(help="Who does it: a reference, such as a personnel number.")]
_Evidence = Annotated[str, typer.Option(help="Where the proof of the request is kept: a file number or ticket.")]


@dataclass(frozen=True, slots=True)
class RevocationContext:
    """What the commands work with. `revocations` gives the actor, with what it needs open, for as long as it lasts."""

    ceremony: CeremonyContext
    revocations: Callable[[], AbstractContextManager[Revocations]]


def _requester(operator: str, evidence: str) -> Requester:
    return Requester("provider", reference(operator, "operator"), evidence=reference(evidence, "evidence"))


def revoke_one(context: RevocationContext, serial: str, reason: str, requester: Requester) -> Revocation:
    """Revokes one certificate; the root's list follows where it is an authority's."""
    with context.revocations() as revocations, context.ceremony.database.write() as session:
        return revocations.revoke(session, typed_serial(serial), reason, requester)


def revoke_issued(context: RevocationContext, issuer: str, reason: str, requester: Requester) -> int:
    """Revokes every certificate of an issuer that can be revoked; how many. May be broken off and begun again."""
    _check_issuer(context.ceremony, issuer)
    count, after = 0, ""
    with context.revocations() as revocations:
        while True:
            with context.ceremony.database.write() as session:
                done, on = revocations.revoke_some(session, issuer, reason, requester, after=after, most=_STEP)
            count += len(done)
            if on is None:
                return count
            after = on


def revoke_authority(context: RevocationContext, issuer: str, reason: str, requester: Requester) -> Revocation:
    """Revokes an authority's own certificate."""
    _check_issuer(context.ceremony, issuer)
    own = x509.Certificate.load(CaStore(context.ceremony.directory).certificate(issuer))
    return revoke_one(context, serial_text(own.serial_number), reason, requester)


def last_lists(context: CeremonyContext, issuer: str) -> list[str]:
    """Publishes the last lists of an issuer with its key; the names of their files."""
    _check_issuer(context, issuer)
    with context.token("ca") as token:
        key = IssuingKey.of(issuer, CaStore(context.directory).certificate(issuer), token.signing_key(f"{issuer}-ca"))
        terms = CrlTerms.of(context.settings)
        return CrlPublisher(context.directory, {issuer: key}, context.database, context.clock, terms).end(issuer)


def _check_issuer(context: CeremonyContext, issuer: str) -> None:
    known = CaStore(context.directory).issuers
    if issuer not in known:
        raise Invalid("issuer-unknown", f"There is no such authority. There are {', '.join(known)}.")


def _tell(done: Revocation) -> None:
    when = f"{done.revoked_at:%Y-%m-%d %H:%M:%S} UTC"
    if done.already:
        typer.echo(f"{done.serial} was revoked already: {when}, {done.reason}. Nothing was changed.")
    else:
        typer.echo(f"{done.serial} revoked: {when}, {done.reason}. It counts at once, and is final.")


def _publish_root(context: CeremonyContext) -> None:
    """The root's list at once (EN 319 411-1 CSS-6.3.9-13); where its token is in a safe, what is to be done."""
    try:
        number, _, until = crl_facts(renew_crl(context))
    except TspError as error:
        typer.echo(f"{error.code}: {error.sentence}", err=True)
        typer.echo("The root's list is not renewed yet: fetch its token and run `tsp ceremony renew-crl`.", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"CRL {number} of the root, valid until {until.isoformat()}")


def add_revocation(commands: typer.Typer, context: Callable[[], RevocationContext]) -> None:
    """Adds the commands of revocation to those of `tsp certificate`; `context` is called when one runs."""

    @commands.command("revoke")
    def revoke(serial: _Serial, reason: _Reason, operator: _Operator, evidence: _Evidence) -> None:
        """Revoke one certificate."""
        with explained():
            made = context()
            done = revoke_one(made, serial, reason, _requester(operator, evidence))
            _tell(done)
            if done.issuer == "root":
                _publish_root(made.ceremony)

    @commands.command("revoke-issued")
    def issued(issuer: _Issuer, reason: _Reason, operator: _Operator, evidence: _Evidence) -> None:
        """Revoke every certificate of an authority that can be revoked."""
        with explained():
            count = revoke_issued(context(), issuer, reason, _requester(operator, evidence))
            typer.echo(f"{count} certificates of {issuer} revoked")

    @commands.command("revoke-authority")
    def authority(issuer: _Issuer, reason: _Reason, operator: _Operator, evidence: _Evidence) -> None:
        """Revoke an authority's own certificate, and renew the root's list."""
        with explained():
            made = context()
            _tell(revoke_authority(made, issuer, reason, _requester(operator, evidence)))
            _publish_root(made.ceremony)

    @commands.command("last-crl")
    def last_crl(issuer: _Issuer) -> None:
        """Publish the last list of an authority: all its certificates are expired or revoked."""
        with explained():
            for file in last_lists(context().ceremony, issuer):
                typer.echo(f"{file} is the last list")
