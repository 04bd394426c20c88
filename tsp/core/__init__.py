"""What every wing stands on: clock, randomness, errors, database, settings, DER, the way out.

Import from the modules by name; this package imports nothing of the wings above it.
"""
