"""The certification authority: profiles, certificates, CRLs, the key ceremony, and the repository.

Its face is `authority.Authority` (prepare, issue, row) with the profiles of `profiles.load_profiles`,
the names of `names`, the addresses of `urls.RepositoryUrls` and the made artefacts of `store.CaStore`.
`tables.status` tells the OCSP responder what is known of a certificate, `revocation.revoke` changes it.
`ceremony.run_ceremony` makes the whole hierarchy once; `http.repository_app` publishes it.

The pure builders (`extensions`, `certificate`, `crl`) turn values into DER. They hold no clock, no
database, no key and no randomness. Nothing here makes or destroys a one-time key.
"""
