"""Switch off the progress bars of transformers, which would break into those of this project and fill logs.

with no_weight_bars():
    model.save_pretrained(folder)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_weight_bars() -> Iterator[None]:
    """No "Loading weights" and "Writing model shards" inside the block; used wherever weights are loaded or saved.

    Downloads from a hub keep their bar: they happen outside such blocks.
    """
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
