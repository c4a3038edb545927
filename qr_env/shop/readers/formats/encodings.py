"""Which encoding a text file has: UTF-8, UTF-16 with its mark, or the one that the user names.

encoding_of(b"\\xff\\xfeq\\0u\\0", "")        # "utf-16"
without_mark(b"q\\0u\\0e\\0r\\0")          # "utf-16-le"
"""

from __future__ import annotations

import codecs

from qr_env.common.errors import ConfigError

UTF8 = "utf-8-sig"
# Longest first: UTF-32's mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def check_encoding(encoding: str) -> str:
    """The codec's name as Python has it, "" for "". Raises ConfigError for an unknown codec or one that is no text."""
    if not encoding:
        return ""
    try:
        codecs.lookup(encoding)
        "".encode(encoding)  # LookupError for codecs such as base64, which do not encode text
    except (LookupError, ValueError):
        raise ConfigError(
            f"encoding={encoding!r}: no such text encoding; examples are utf-8, cp1252 (Windows), latin-1, utf-16, "
            "cp1251, gb18030, shift_jis"
        ) from None
    return UTF8 if codecs.lookup(encoding).name == "utf-8" else encoding


def encoding_of(start: bytes, asked: str) -> str:
    """The encoding of a file that starts with these bytes; `asked` is the user's, "" to detect it.

    A byte-order mark goes before `asked`: it is certain.
    """
    for mark, encoding in MARKS:
        if start.startswith(mark):
            return encoding
    return check_encoding(asked) or UTF8


def without_mark(start: bytes) -> str:
    """UTF-16 without a byte-order mark: every second byte of its ASCII text is zero. "" for other bytes."""
    even, odd = start[0::2], start[1::2]
    if len(start) < 8:
        return ""
    if odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.05 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.4 * len(even) and odd.count(0) < 0.05 * len(odd):
        return "utf-16-be"
    return ""
