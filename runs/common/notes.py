"""What the readers of files say (which column was taken for what, how many cells are unknown), on stderr as it is said.

with printed_notes():
    load_shop("my_folder")          # note: products.csv: product_id ← Handle, title ← Title; not used: Tags
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from qr_env.common.messages import print_message

READERS = logging.getLogger("qr_env.shop")


class _Printer(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message, once where a file is read again; notes, unlike warnings, are marked as such."""
        text = record.getMessage() if record.levelno > logging.INFO else f"note: {record.getMessage()}"
        if text not in self._said:
            self._said.add(text)
            print_message(text)


@contextmanager
def printed_notes() -> Iterator[None]:
    """Print the notes and warnings of the readers inside the block, once even where blocks are nested."""
    if any(isinstance(handler, _Printer) for handler in READERS.handlers):
        yield
        return
    printer, level = _Printer(), READERS.level
    READERS.addHandler(printer)
    READERS.setLevel(logging.INFO)
    try:
        yield
    finally:
        READERS.removeHandler(printer)
        READERS.setLevel(level)
