"""Takes the last signature out of a PDF, for tools that read CMS: take_apart.py SIGNED.pdf DIRECTORY

Writes the CMS, the octets that it covers, the time-stamp token, the signature value that the token
covers and the certificates; prints the time-stamp's time in seconds since 1970.
"""

import re
import sys
from pathlib import Path

from asn1crypto import cms, pem, tsp

_BYTE_RANGE = re.compile(rb"/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]")
_TIME_STAMP = "signature_time_stamp_token"


def main(pdf: bytes, directory: Path) -> int:
    """Writes the parts; returns the time-stamp's time."""
    start, length, resume, rest = (int(n) for n in _BYTE_RANGE.findall(pdf)[-1])
    contents = pdf[start + length : resume].strip(b"<>")
    signed = cms.ContentInfo.load(bytes.fromhex(contents.decode()), strict=False)
    data = signed["content"]
    signer = data["signer_infos"][0]
    token = next(a["values"][0] for a in signer["unsigned_attrs"] if a["type"].native == _TIME_STAMP)
    stamped = tsp.TSTInfo.load(token["content"]["encap_content_info"]["content"].parsed.dump())
    (directory / "signature.der").write_bytes(signed.dump())
    (directory / "content").write_bytes(pdf[start : start + length] + pdf[resume : resume + rest])
    (directory / "timestamp.der").write_bytes(token.dump())
    (directory / "signature.value").write_bytes(signer["signature"].native)
    certificates = [*data["certificates"], *token["content"]["certificates"]]
    chain = b"".join(pem.armor("CERTIFICATE", c.chosen.dump()) for c in certificates)
    (directory / "chain.pem").write_bytes(chain)
    return int(stamped["gen_time"].native.timestamp())


if __name__ == "__main__":
    print(main(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])))
