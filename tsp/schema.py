"""Every table of the platform, for migrations: importing a wing's `tables` registers them."""

import importlib

from tsp.core.database import Base

_TABLES = (
    "tsp.core.tables",
    "tsp.audit.tables",
    "tsp.notify.tables",
    "tsp.ca.tables",
    "tsp.ca.revision",
    "tsp.engine.tables",
    "tsp.tsa.tables",
    "tsp.idp.credentials.tables",
    "tsp.idp.accounts.tables",
    "tsp.idp.oidc.tables",
    "tsp.idp.login.tables",
    "tsp.sign.tables",
)
for _module in _TABLES:
    importlib.import_module(_module)

METADATA = Base.metadata
