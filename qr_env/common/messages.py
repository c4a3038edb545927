"""Messages to the user: on stderr, so that stdout holds results alone, and above a progress bar, not through it."""

from __future__ import annotations

import sys

from tqdm import tqdm


def print_message(text: object) -> None:
    """Print one line on stderr at once; progress bars that are shown move below it."""
    tqdm.write(str(text), file=sys.stderr)
    sys.stderr.flush()
