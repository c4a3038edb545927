"""Personal data in what shoppers type: masked before a text is stored, logged, tracked or reported.

    mask_text("call 030 1234567 or bob@mail.de")            # "call <phone> or <email>"
    pseudonym("client-17", key=open_key("events"))          # "c1b7…": the same client, without its id

Masked are e-mail addresses, payment card numbers and phone numbers. Shops' queries are full of other digits (article
numbers, GTINs, sizes, years, prices), so that a run of digits needs more than its length:

- a card: the first digits and the length of an issuer (ISO/IEC 7812), and the Luhn check digit; 13 digits are an EAN;
- a phone: 8 to 15 digits (ITU-T E.164) after a +, after 00 and a country code, after a trunk 0 or around an area code
  in brackets; else groups as a country writes them: 3-3-4 (North America, Italy), 3-4-4 (China), 2-4-4 (Mexico), 5-5
  (India), 3-3-3 (Spain, Poland, Portugal), or a word before it that announces one ("tel", "call", "whatsapp").

What stays: dates, GTINs of 12 to 14 digits with a valid check digit (one in ten phone numbers of 12 digits is spared
by it, unless it begins like a German mobile number or with 00), and bare digits without any sign. What goes although
it is no phone number: article numbers of 8 to 15 digits that begin with 0.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from qr_env.common.errors import ConfigError

EMAIL, PHONE, CARD = "<email>", "<phone>", "<card>"
PSEUDONYM_DIGITS = 20
QUERY_FIELDS = frozenset({"query", "rewrite", "queries", "rewrites", "user_query"})  # texts that shoppers typed
KEY_FILE, KEY_BYTES = "pseudonym.key", 32

_EMAIL = re.compile(r"[^\s@<>,;:\"()]{1,64}@[^\s@<>,;:\"()]{1,190}\.[^\W\d_]{2,24}")
_CARD = re.compile(r"(?<!\d)(?<!\d[.,])\d(?:[ .-]?\d){13,18}(?!\d)")
_NUMBER = re.compile(r"(?<![\w.,])(?:\+ ?|\(\+?)?\d(?:(?: ?[/-] ?|\) ?[/-]?|\.| ?\(|  ?)?\d){6,18}(?!\w)(?![.,]\d)")
_ANNOUNCED = re.compile(
    r"(?:\btel(?:ef[oó]no|efoon|efon)?|\bphone|\bcall(?: me)?(?: at| on)?|\bwhats ?app|\bmob(?:ile|il)?|\bhandy|\bfax"
    r"|\b(?:ph|nr|number|nummer|numero|número))[.:]{0,2} ?$",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d|(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2}")
_GERMAN_MOBILE = re.compile(r"0?01[567]")
_PLAUSIBLE = ("3-3-4", "3-4-4", "2-4-4", "5-5", "3-3-3")
# issuer → (its first digits, lengths of its numbers)
_ISSUERS = (
    (re.compile(r"4"), (16, 19)),  # Visa
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"3(?:0[0-5]|[689])"), (14, 16, 19)),  # Diners Club
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 19)),  # JCB
    (re.compile(r"6(?:011|4[4-9]|5)"), (16, 19)),  # Discover, RuPay
    (re.compile(r"62|81"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"50|5[6-9]|6[0137]"), (16, 17, 18, 19)),  # Maestro
)


def mask_text(text: str) -> str:
    """The text with `EMAIL`, `CARD` and `PHONE` in the place of what they stand for; every other text as it is."""
    if "@" in text:
        text = _EMAIL.sub(EMAIL, text)
    if sum(map(str.isdecimal, text)) < 7:
        return text
    return _NUMBER.sub(_masked_phone, _CARD.sub(_masked_card, text))


def mask_query_texts(value: Any) -> Any:
    """A JSON value whose texts under `QUERY_FIELDS` are masked, at any depth; other texts, such as titles, stay."""
    if isinstance(value, list | tuple):
        return [mask_query_texts(one) for one in value]
    if not isinstance(value, dict):
        return value
    masked = {
        name: _masked_texts(one) if name in QUERY_FIELDS else mask_query_texts(one) for name, one in value.items()
    }
    if "words" in value and isinstance(value.get("query"), str) and masked["query"] != value["query"]:
        masked["words"] = []  # the parts of a number, word by word
    return masked


def _masked_texts(value: Any) -> Any:
    if isinstance(value, str):
        return mask_text(value)
    return [_masked_texts(one) for one in value] if isinstance(value, list | tuple) else mask_query_texts(value)


def _masked_card(found: re.Match[str]) -> str:
    return CARD if is_card(found[0]) else found[0]


def _masked_phone(found: re.Match[str]) -> str:
    before = found.string[max(found.start() - 20, 0) : found.start()]
    return PHONE if is_phone(found[0], _ANNOUNCED.search(before) is not None) else found[0]


def is_card(written: str) -> bool:
    """Whether these digits, with spaces, dots or hyphens, are the number of a payment card."""
    digits = _digits(written)
    if not any(len(digits) in lengths and first.match(digits) for first, lengths in _ISSUERS):
        return False
    if len(digits) == 14 and written.isdecimal() and has_gtin_check(digits):
        return False
    return passes_luhn(digits)


def is_phone(written: str, announced: bool = False) -> bool:
    """Whether these digits with their separators are a phone number.

    announced: a word such as "call" stands before them.
    """
    digits, groups = _digits(written), [len(group) for group in re.findall(r"\d+", written)]
    if not 8 <= len(digits) <= 15 and not (announced and len(digits) == 7):
        return False
    if written[0] == "+" or written.startswith("(+") or re.match(r"\(0?\d{1,4}\)", written):
        return True
    if _DATE.fullmatch(written):
        return False
    if announced and min(groups) > 2:
        return True
    if len(groups) == 1 and len(digits) in (12, 13, 14) and has_gtin_check(digits):
        return bool(_GERMAN_MOBILE.match(digits)) or (digits.startswith("00") and digits[2] != "0")
    if digits.startswith("0"):
        return groups[0] > 1 and not digits.startswith("000") and _one_separator(written)
    return _as_written_abroad(written, groups)


def _as_written_abroad(written: str, groups: list[int]) -> bool:
    shape, first = "-".join(map(str, groups)), written[0]
    if shape not in _PLAUSIBLE or not _one_separator(written):
        return False
    if shape == "3-4-4":
        return first == "1"
    if shape in ("3-3-3", "5-5"):
        sizes = all(int(group) % 10 == 0 for group in re.findall(r"\d+", written))
        return first in "56789" and not sizes
    return first in "23456789" and not written.endswith("000")


def _one_separator(written: str) -> bool:
    """Whether at most two kinds of separators stand between the groups, as an area code's and the others'."""
    return len(set(re.findall(r"\D+", written.lstrip("+(")))) <= 2


def _digits(written: str) -> str:
    """The digits as ASCII."""
    return "".join(str(int(one)) for one in written if one.isdecimal())


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def has_gtin_check(digits: str) -> bool:
    """Whether the last digit is that of a GTIN, UPC or EAN: weights 3 and 1 alternate from its left neighbor on."""
    return sum(int(digit) * (1 + 2 * (at % 2)) for at, digit in enumerate(reversed(digits))) % 10 == 0


def pseudonym(identifier: str, key: bytes) -> str:
    """An identifier's keyed hash (HMAC-SHA-256, 80 bits), the same for the same identifier and key; "" stays ""."""
    if not identifier:
        return ""
    return hmac.new(key, identifier.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]


def open_key(folder: str | Path) -> bytes:
    """The key of a log folder's pseudonyms, from `KEY_FILE` in it, which only its owner may read; drawn at first.

    Without the file, or once it is deleted, nobody can tell which client a pseudonym stands for.

    Raises:
        ConfigError: the file is damaged.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / KEY_FILE
    if not file.exists():
        _draw_key(file)
    key = file.read_bytes()
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{file} has {len(key)} bytes instead of {KEY_BYTES}: restore it, or delete it for other pseudonyms"
        )
    return key


def _draw_key(file: Path) -> None:
    """Write a key. Of several processes at once the first one's stays: a link, unlike a rename, replaces no file."""
    drawn = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as target:
            target.write(secrets.token_bytes(KEY_BYTES))
            target.flush()
            os.fsync(target.fileno())
        with suppress(FileExistsError):
            os.link(drawn, file)
    finally:
        drawn.unlink()
