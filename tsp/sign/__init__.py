"""The signing site: brings a document, asks its signer for approval, hands over the signed file.

It is a relying party like any stranger's: it knows the identity provider by its public protocol
only, holds no signature key, and reaches the engine through a port. The face is `sign_app`
(tsp/sign/app.py); the rules are in `requests.py` and `finishing.py`.
"""
