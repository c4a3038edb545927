"""Prompts of the LLM judge: versioned files in `judges/llm/prompts/`, filled so that product text stays data.

    prompt = Prompt.load(GRADE)
    shared, own = prompt.render("red sofa", ["Lindholm sofa red"], PASSES["plain"])

A prompt file has front matter (kind, fields, levels), then a body in two parts separated by a line `===`. The first
part holds the rubric, the warning that products are data, and the query. It is equal for all products of a query, so a
server's prefix cache computes it once. Everything that differs, including the nonce, is in the short second part.
Placeholders are those of `string.Template`: labels, letters, query, product, nonce, count. They are filled in one pass,
so nothing in a product is taken for a placeholder.

Instructions in product texts fool LLM assessors (arXiv 2501.17969). Defences: `clean` removes control characters and
all brackets of which chat templates' tokens (`<|im_end|>`, `</s>`, `[INST]`) consist; the text stands between two
delimiters that do not occur in it; and a short form of the rubric follows it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from qr_env.common.errors import ConfigError
from qr_env.common.prompt_files import read_prompt
from qr_env.common.types import LEVELS
from qr_env.shop.shop import PRODUCT_SCHEMA, Shop

FOLDER = Path(__file__).parent / "prompts"
GRADE = "grade_v2"  # default prompt
KINDS = ("label", "list", "json", "reason")
QUERY_BYTES = 512  # greatest length of a query, so that it cannot push the rubric out of the context
_BRACKETS = str.maketrans("<>[]", "()()")
_SYLLABLES = ("bdfghjklmnprstvz", "aeiou")  # consonants and vowels alternate
_INVISIBLE = re.compile(r"[^\S ]+|[^\w\s]", re.UNICODE)  # candidates for `_visible`; letters and digits are always kept


@dataclass(frozen=True, slots=True)
class Labels:
    """Letters of the levels in one pass."""

    order: tuple[int, ...]
    """levels in the order of the rubric"""
    letters: str
    """letter of each level, worst level first"""

    @property
    def brief(self) -> str:
        """The short rubric: "E = Exact, S = Substitute, …"."""
        return ", ".join(f"{self.letters[level]} = {LEVELS[level]}" for level in self.order)


# The average of "plain" and "swapped" cancels a preference for what is listed first; that of "abcd" and "dcba" also a
# preference for a letter, since there every letter stands for one level and for its mirror image.
PASSES = {
    "plain": Labels((3, 2, 1, 0), "ICSE"),
    "swapped": Labels((0, 1, 2, 3), "ICSE"),
    "abcd": Labels((3, 2, 1, 0), "DCBA"),
    "dcba": Labels((0, 1, 2, 3), "ABCD"),
}


def clean(text: str) -> str:
    """The text on one line, without control, format and unassigned characters, with ( ) for < > [ ].

    Compatibility forms (full-width brackets, ligatures) are resolved first, so that they cannot hide anything.
    """
    text = unicodedata.normalize("NFKC", text)
    text = _INVISIBLE.sub(lambda found: _visible(found[0]), text)
    return " ".join(text.translate(_BRACKETS).split())


def _visible(characters: str) -> str:
    """White space becomes a space, other members of Unicode's category C nothing."""
    return "".join(" " if c.isspace() else "" if unicodedata.category(c)[0] == "C" else c for c in characters)


def cut_bytes(text: str, limit: int) -> str:
    """The longest beginning of at most `limit` UTF-8 bytes. A byte-level tokenizer makes no more tokens than bytes."""
    return text.encode()[:limit].decode(errors="ignore")


def nonce(*texts: str) -> str:
    """Four letters, such as "muvi", that occur in none of the texts; deterministic in the texts.

    Two syllables make two or three tokens, four hexadecimal digits make four.
    """
    known = "\0".join(texts).casefold()
    for count in range(1 << 16):
        digits = hashlib.blake2b(f"{count}\0{known}".encode(), digest_size=4).digest()
        letters = "".join(
            _SYLLABLES[place % 2][digit % len(_SYLLABLES[place % 2])] for place, digit in enumerate(digits)
        )
        if letters not in known:
            return letters
    raise ConfigError(f"every four-letter nonce occurs in a text of {len(known)} characters: shorten it")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file."""

    name: str
    """stem of the file"""
    hash: str
    """12 digits of the SHA-256 of its content"""
    kind: str
    """one of `KINDS`"""
    fields: tuple[str, ...]
    """columns of the product table in the product's text, in this order"""
    levels: tuple[str, ...]
    """definition of each level, worst first"""
    shared: Template
    """part that is equal for all products of a query"""
    own: Template
    """part with the product"""

    @classmethod
    def load(cls, name: str | Path) -> Prompt:
        """A prompt of `judges/llm/prompts/` by name, or any file by its path; ConfigError where it cannot be used."""
        path, digest, parts = read_prompt(name, FOLDER, f"{GRADE}.md", _parts)
        prompt = cls(path.stem, digest, *parts)
        prompt._check(path)
        return prompt

    def _check(self, path: Path) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"{path}: kind {self.kind!r}; choose one of {', '.join(KINDS)}")
        if unknown := set(self.fields) - set(PRODUCT_SCHEMA.names):
            raise ConfigError(f"{path}: fields {sorted(unknown)}; products have {', '.join(PRODUCT_SCHEMA.names)}")
        if {"nonce", "product"} & set(self.shared.get_identifiers()):
            raise ConfigError(f"{path}: nonce and product belong below the === line, or no prefix is shared")
        if not {"nonce", "product", "letters"} <= set(self.own.get_identifiers()):
            raise ConfigError(f"{path}: the part below === must hold ${{nonce}}, ${{product}} and ${{letters}}")

    def render(self, query: str, products: Sequence[str], labels: Labels) -> tuple[str, str]:
        """The two parts of the prompt for products of a query; texts must have gone through `clean` already."""
        delimiter = nonce(self.shared.template, self.own.template, labels.brief, *self.levels, query, *products)
        product = products[0] if self.kind != "list" else _numbered(products)
        facts = {"query": query, "product": product, "nonce": delimiter, "count": str(len(products))}
        facts |= {"letters": labels.brief, "labels": self._rubric(labels)}
        return self.shared.substitute(facts), self.own.substitute(facts)

    def _rubric(self, labels: Labels) -> str:
        return "\n".join(f"{labels.letters[n]} = {LEVELS[n]}: {self.levels[n]}" for n in labels.order)

    def product_texts(self, shop: Shop) -> list[str]:
        """The text of each product of a shop in the prompt, by row: "title; field: value; …"."""
        columns = [shop.products[field].to_pylist() for field in self.fields]
        return [_joined(self.fields, values) for values in zip(*columns, strict=True)]


def _parts(head: Mapping[str, Any], body: str) -> tuple[str, tuple[str, ...], tuple[str, ...], Template, Template]:
    shared, own = re.split(r"^===\n", body, flags=re.MULTILINE)
    levels = tuple(str(head["levels"][level]) for level in LEVELS)
    return str(head["kind"]), tuple(head["fields"]), levels, Template(shared), Template(own.rstrip("\n"))


def _joined(fields: Sequence[str], values: Sequence[str | float | None]) -> str:
    """Values separated by "; ", without those that the text contains already and without NaN (an unknown price)."""
    text = ""
    for field, value in zip(fields, values, strict=True):
        if value and value == value and str(value).casefold() not in text.casefold():
            text += f"; {field}: {value}" if text else str(value)
    return text


def _numbered(products: Sequence[str]) -> str:
    """One numbered line a product; `clean` removes line breaks, so no product can start another line."""
    return "\n".join(f"{n}: {product}" for n, product in enumerate(products, 1))
