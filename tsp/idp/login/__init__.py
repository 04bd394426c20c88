"""Login, consent and approval: the pages between a service's request and its answer.

The face is `Logins` (flow.py) and `Approvals` (approvals.py) for the rules, `login_routes` (pages.py)
for the pages.
"""
