"""The append-only log: entries written by every wing, one Merkle tree over all of them (EVD-2).

Faces: `entries.record` writes an entry inside the caller's transaction; `sequencer.Sequencer`
gives positions, tree and signed checkpoint; `http.log_app` serves the public log; `verify` and
`commands` recompute all of it. `witnesses` and `time_stamps` bring checkpoints to others, `package`
makes the evidence of one signature and `verify_evidence` reads it, without anything of the platform.
`canonical`, `tree`, `tiles`, `checkpoint`, `cosignature` and `signed_data` are pure.
"""
