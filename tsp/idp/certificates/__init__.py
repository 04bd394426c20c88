"""A person's certificates: which are theirs, and how they are revoked.

Three ways lead to a revocation here: the logged-in person with the password again (`service`, `pages`), the person
who has nothing left but address and PUK (`puk`), and the registration officer of an organisation (`officer`, `http`).
What a revocation is and does stands in `tsp.ca.revocation`.
"""
