"""Parts that composition is made of, which need one process's world and belong to no role."""

from tsp.audit.time_stamps import CheckpointStamper
from tsp.ca.commands import CeremonyContext
from tsp.ca.names import PersonName
from tsp.core.database import Database
from tsp.core.sealing import Sealer
from tsp.runtime import Runtime


def checkpoint_stamper(runtime: Runtime, database: Database) -> CheckpointStamper:
    """What has the log's checkpoints time-stamped."""
    from tsp.adapters import CheckpointAuthority
    from tsp.audit.installation import time_stamp_source
    from tsp.audit.time_stamps import StampLimits

    url, trust = time_stamp_source(runtime.settings)
    authority = CheckpointAuthority(url, trust, runtime.outbound(), runtime.randomness)
    limits = StampLimits(interval=runtime.settings.log.time_stamp_seconds)
    return CheckpointStamper(database, authority, runtime.clock, limits)


def account_holder(runtime: Runtime, account_id: str) -> PersonName:
    """The proven person of an account, as certificates name them; with the token of the identity provider."""
    from tsp.idp.accounts.assurance import load_policy
    from tsp.idp.accounts.holder import certifiable

    policy = load_policy(runtime.settings.path(runtime.settings.idp.assurance))
    database = runtime.database()
    try:
        with runtime.open_token("identity") as token, database.read() as session:
            sealer = Sealer(token.aead_key("personal-data"), runtime.randomness, "personal-data")
            person = certifiable(session, sealer, token.hmac_key("index-hmac"), policy, account_id)
    finally:
        database.close()
    return PersonName(person.given_name, person.family_name, person.country, person.serial_number)


def ceremony_context(runtime: Runtime) -> CeremonyContext:
    """What the ceremony and operators' certificates work with in this installation."""
    return CeremonyContext(
        settings=runtime.settings,
        open_token=runtime.open_token,
        root_pin=runtime.settings.var / "pins" / "root.pin",
        database=runtime.database(),
        clock=runtime.clock,
        randomness=runtime.randomness,
    )
