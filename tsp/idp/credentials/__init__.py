"""What proves a person: passwords, one-time codes, PUK, and the one gate that counts every attempt.

The face is `Passwords`, `Codes`, `Puks` and `Gate`. Each check takes an `Attempt` that only the
gate gives, so that nothing can be tried without having been counted first.
"""
