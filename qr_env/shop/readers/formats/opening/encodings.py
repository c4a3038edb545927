"""Which encoding a text file has: UTF-8, UTF-16 with its mark, or the one that the user names.

marked_encoding(b"\\xff\\xfeq\\0u\\0")     # "utf-16"
without_mark(b"q\\0u\\0e\\0r\\0")          # "utf-16-le"
"""

from __future__ import annotations

import codecs

from qr_env.common.errors import ConfigError

UTF8 = "utf-8-sig"
FEW = 20  # characters
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


def marked_encoding(start: bytes) -> str:
    """The encoding that a byte-order mark tells, "" without one."""
    return next((encoding for mark, encoding in MARKS if start.startswith(mark)), "")


def is_utf8_all_the_same(sample: bytes, asked: str) -> bool:
    """Whether a text is UTF-8 although the user names another encoding: one setting is for all files of a shop.

    Letters beyond ASCII that are valid UTF-8 are no accident, but for a few Chinese, Japanese or Korean ones.
    """
    try:
        text = sample.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 3:  # the sample may end within a character
            return False
        text = sample[: error.start].decode("utf-8")
    if text.isascii():
        return "\0" not in text and "\x1b" not in text and check_encoding(asked) != "utf-7"
    single_byte = len(bytes(range(256)).decode(asked, "replace")) == 256
    return single_byte or sum(char > "\x7f" for char in text) > FEW


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
