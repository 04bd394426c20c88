"""The append-only log: entries written by every wing, one Merkle tree over all of them (EVD-2).

Faces: `entries.record` writes an entry inside the caller's transaction; `sequencer.Sequencer`
gives positions, tree and signed checkpoint; `http.log_app` serves the public log; `verify` and
`commands` recompute all of it. `canonical`, `tree`, `tiles` and `checkpoint` are pure.
"""
