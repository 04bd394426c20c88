"""The OCSP responder (RFC 6960, RFC 9919, RFC 9654).

Its face is `http.ocsp_app`, an ASGI application around `responder.OcspResponder`, which holds one delegated key
and certificate for each authority that it answers for and reads the status through `source`. `request` and
`response` are pure: values in, DER out.
"""
