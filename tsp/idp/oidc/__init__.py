"""OpenID Connect provider to the FAPI 2.0 security profile.

The face is `OpenIdProvider` (provider.py) for the endpoints that machines call, `load_clients`
(clients.py) for the relying parties, and `oidc_routes` (http.py).
"""
