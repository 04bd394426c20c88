"""The repository for people: authorities, lists, statements, test certificates and the trust list.

What machines fetch (RFC 2585) is `tsp.ca.http`; the two are one face.
"""
