"""What the readers of files say (which column was taken for what, how many cells are unknown), on stderr as it is said.

with printed_notes(Args):
    load_shop("my_folder")          # note: products.csv: product_id ← Handle, title ← Title; not used: Tags
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from qr_env.common.messages import print_message
from runs.common.flag_words import as_flags

READERS = logging.getLogger("qr_env.shop")


class _Printer(logging.Handler):
    def __init__(self, args_type: type) -> None:
        super().__init__(logging.INFO)
        self._args_type = args_type
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message, once where a file is read again; notes, unlike warnings, are marked as such."""
        message = as_flags(record.getMessage(), self._args_type)
        text = message if record.levelno > logging.INFO else f"note: {message}"
        if text not in self._said:
            self._said.add(text)
            print_message(text)


@contextmanager
def printed_notes(args_type: type) -> Iterator[None]:
    """Print the notes and warnings of the readers inside the block, once even where blocks are nested.

    Settings that they name are written as the flags of the verb with these settings.
    """
    if any(isinstance(handler, _Printer) for handler in READERS.handlers):
        yield
        return
    printer, level = _Printer(args_type), READERS.level
    READERS.addHandler(printer)
    READERS.setLevel(logging.INFO)
    try:
        yield
    finally:
        READERS.removeHandler(printer)
        READERS.setLevel(level)
