"""Enkrat: remote signing and trust services, one key for one signature."""
