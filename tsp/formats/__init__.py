"""Advanced electronic signatures as bytes: the formats, without keys, clocks or networks.

The faces are `cms` (SignedData from DER pieces, pure) and `pades` (PDF signatures; what has to read
a stranger's document runs in `pades_worker`, inside an isolated process). `placeholder` holds the
arithmetic of a signature's place in a PDF file, which both sides share.
"""
