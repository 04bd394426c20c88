"""The signing engine (the signature activation module of EN 419 241): approval in, signature and evidence out.

Its face for other processes is `protocol.EngineClient` on a Unix socket. Inside, `engine.Engine` has one
public method a use case; `activation` decides whether an approval may sign, `approvals` that it does so
once, `onetime` makes, uses and destroys the key, `evidence` says how it was. The engine signs no octets
that it did not build itself, and no operator's way leads to a signature.
"""
