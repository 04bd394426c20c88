"""Messages to people: an outbox in the caller's transaction, and a runner that empties it.

The face is `Outbox` (outbox.py) for whoever has something to say, `Runner` (runner.py) for the
process that sends. What a message says is not this wing's business: callers render their texts.
"""

from tsp.notify.outbox import Outbox
from tsp.notify.runner import Runner

__all__ = ["Outbox", "Runner"]
