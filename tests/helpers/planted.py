"""Pickles that would run code, to be planted where a colleague's file is read.

file.write_bytes(pickle.dumps(Exploit(mark)))     # reading it as a pickle would make the folder `mark`
"""

from __future__ import annotations

import os
from pathlib import Path


class Exploit:
    """Makes a folder when it is unpickled, as any other code could run then."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)
