"""Personal data in what shoppers type: masked before a text is stored, logged, tracked or reported.

    mask_text("call 030 1234567 or bob@mail.de")            # "call <phone> or <email>"
    pseudonym("client-17", key=b"…")                        # "c1b7…": the same client, without its id

Masked are e-mail addresses, phone numbers and payment card numbers (13 to 19 digits that pass the Luhn check, ISO/IEC
7812). Article numbers, sizes and years stay: a run of digits is a phone number only with a sign of one, a leading + or
0, brackets or separators, and 8 to 15 digits (ITU-T E.164).
"""

from __future__ import annotations

import hashlib
import hmac
import re

EMAIL, PHONE, CARD = "<email>", "<phone>", "<card>"
PSEUDONYM_DIGITS = 20
_EMAIL = re.compile(r"[^\s@<>,;:\"()]{1,64}@[^\s@<>,;:\"()]{1,190}\.[^\W\d_]{2,24}")
_DIGITS = re.compile(r"(?<![\w.,])(?:\+|\(\+?)?\d(?:[ ./()-]{0,2}\d){6,18}(?![\w])")


def mask_text(text: str) -> str:
    """The text with `EMAIL`, `PHONE` and `CARD` in the place of what they stand for; every other text as it is."""
    if "@" in text:
        text = _EMAIL.sub(EMAIL, text)
    return _DIGITS.sub(_masked_number, text) if sum(map(str.isdigit, text)) > 6 else text


def _masked_number(found: re.Match[str]) -> str:
    written = found[0]
    digits = "".join(filter(str.isdigit, written))
    if len(digits) >= 13 and passes_luhn(digits):
        return CARD
    marked = written[0] in "+(" or written.startswith("0") or len(written) > len(digits) + 1
    return PHONE if marked and 8 <= len(digits) <= 15 else written


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others."""
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def pseudonym(identifier: str, key: bytes) -> str:
    """An identifier's keyed hash (HMAC-SHA-256, 80 bits), the same for the same identifier and key; "" stays ""."""
    if not identifier:
        return ""
    return hmac.new(key, identifier.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]
