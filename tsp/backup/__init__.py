"""Backup and restore of a running installation: database, documents, authorities, tokens, and secrets only sealed.

`making.make_backup` writes a directory whose manifest comes last; `restoring.restore` builds an
installation from it beside its final place, has `proof.prove` look at it, and puts it there when all is well.
"""
