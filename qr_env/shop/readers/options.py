"""How files are read: what to do with invalid rows, and what cannot be told from the file alone.

options = ReadOptions(on_bad_row="skip", grades="1=E,0=I")
shop = load_shop("my_folder", options=options)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from qr_env.common.errors import ConfigError
from qr_env.language.codes import language
from qr_env.shop.readers.grade_names import GradeNames


@dataclass(kw_only=True)
class ReadOptions:
    """Settings of every reader of files; the verbs have them as flags (`runs/common/reading.py`)."""

    on_bad_row: Literal["stop", "skip"] = "stop"
    """Stop at the first invalid row of a file, or skip invalid rows, count them and list them."""
    grades: str = ""
    """What the grades of labels mean where they are not E, S, C and I or 0–3, such as 0=I,1=E or 0..1=I,2=S,3..4=E; a
    scale that is neither is asked for"""
    encoding: str = ""
    """Encoding of the text files, such as windows-1252; by default it is told from each file."""
    language: str = ""
    """Language of the shop, such as de, or mul for several: it decides stemming, stop words and typos; by default it is
    told from titles and queries."""

    def check(self) -> None:
        """Raise ConfigError for a value that no reader accepts."""
        if self.on_bad_row not in ("stop", "skip"):
            raise ConfigError(f"on_bad_row={self.on_bad_row!r}: must be 'stop' or 'skip'")
        if self.language:
            language(self.language)
        if self.grades:
            GradeNames.parse(self.grades)

    def read_options(self) -> ReadOptions:
        """These settings alone, without what a subclass adds."""
        return ReadOptions(**{field.name: getattr(self, field.name) for field in fields(ReadOptions)})
