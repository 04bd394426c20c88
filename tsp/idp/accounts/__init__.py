"""Accounts: registration, personal data, identification keys, assurance.

The face for the login half is `Accounts` (service.py); the pages are `registration_routes` and
`identity_routes` (pages.py, identity_pages.py), the branch interface is `branch_routes` (http.py).
"""
