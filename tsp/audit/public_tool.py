"""The public verifier as one file: the sources of `verify_evidence`, packed for `python verify-evidence.pyz`."""

import functools
import io
import zipfile
from pathlib import Path

_HERE = Path(__file__).parent
_SOURCES = ("signed_data.py", "verify_evidence.py")
_MAIN = "import sys\n\nfrom tsp.audit.verify_evidence import main\n\nsys.exit(main())\n"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@functools.cache
def public_tool() -> bytes:
    """A ZIP application (PEP 441): plain sources that anybody can read, the same octets each time."""
    files = {"__main__.py": _MAIN, "tsp/__init__.py": "", "tsp/audit/__init__.py": ""}
    files |= {f"tsp/audit/{name}": (_HERE / name).read_text(encoding="utf-8") for name in _SOURCES}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), text)
    return packed.getvalue()
