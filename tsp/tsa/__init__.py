"""The time-stamping authority (RFC 3161, RFC 5816, EN 319 421, EN 319 422).

Its face is `http.tsa_app`, an ASGI application around `authority.TimeStampAuthority`. `token` is pure:
requests, tokens and responses as DER. `clock_guard.ClockGuard` stops the authority when the clock cannot be
trusted; `journal.Journal` makes every time-stamp's record durable before its answer leaves.
"""
