"""A list of breached passwords on disk: sorted SHA-1 hashes, searched without reading the file.

The format is the one that Have I Been Pwned offers for download, ordered by hash: one line each,
40 hexadecimal digits, then optionally a colon and a count. The operator supplies the file.
"""

import hashlib
import os
from pathlib import Path

_LONGEST_LINE = 80


class BreachedFile:
    """Answers whether a password is in the file; one open file for each question, safe for threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size

    def __contains__(self, password: str) -> bool:
        wanted = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest().upper()
        handle = os.open(self._path, os.O_RDONLY)
        try:
            return self._search(handle, wanted.encode())
        finally:
            os.close(handle)

    def _search(self, handle: int, wanted: bytes) -> bool:
        """Halves the range of octets in which the line can begin."""
        low, high = 0, self._size
        while low < high:
            middle = (low + high) // 2
            start, line = _line_from(handle, middle)
            found = line[:40].upper()
            if found == wanted:
                return True
            if not found or found > wanted:
                high = middle
            else:
                low = max(middle, start) + 1
        return False


def _line_from(handle: int, offset: int) -> tuple[int, bytes]:
    """Start and text of the first line that begins at `offset` or after; empty at the end of the file."""
    begin = max(0, offset - 1)
    chunk = os.pread(handle, 2 * _LONGEST_LINE, begin)
    skipped = 0 if offset == 0 else chunk.find(b"\n") + 1
    if offset and not skipped:
        return begin + len(chunk), b""
    return begin + skipped, chunk[skipped:].split(b"\n", 1)[0].strip()
