"""Identity provider: accounts, login, OpenID Connect, and the approval of signatures.

The face is `tsp.idp.app.idp_app`: one web application for people (registration, login, consent,
approval) and for machines (OpenID Connect, branch API).
"""
