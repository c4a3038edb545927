"""Input sanitizing for judges that read product texts: removes text that is written for the judge.

    judge = open_judge("embedding", sanitized_shop(shop))      # same rows; retrieval keeps the original shop

It works for every judge, because it changes the shop that the judge reads. Removed are: control and zero-width
characters; markup and fragments of JSON; clauses from the point where they give commands to a reader; words that are
repeated too often (all copies: an ordinary title seldom repeats a word three times); and text beyond a normal length.
It cannot remove the query's words written once into another product's title, which look like any title. `qr judge
probe` reports exploit rates before and after, and `changed_title_share`, the cost to ordinary titles.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pyarrow as pa

from qr_env.shop.shop import Shop

# Field → greatest length in words; the rest is cut.
FIELDS = {"title": 40, "description": 200, "brand": 6, "category": 12, "color": 6, "attributes": 200}
REPEATS = 3  # occurrences of a word in up to 40 words from which it is spam; in longer texts, in proportion
_INVISIBLE = re.compile(r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_MARKUP = re.compile(
    r"</?[a-z][^<>]{0,80}>|```|#{2,}"  # tags, fences, headings
    r"|[\[{,]+\s*\"[^\"]{0,60}\"\s*:\s*(\"[^\"]{0,60}\"|\w+)?"  # a key of JSON and its value
    r"|\"\s*[\]}]+|[{}]",
    re.IGNORECASE,
)
_COMMAND = re.compile(
    r"\b(ignore|disregard|forget|override)\b.{0,40}\b(instructions?|previous|prior|above|rules?|prompt)\b"
    r"|\b(grade|rate|rank|label|score|classify|judge|mark)\s+(it|this|that|the\s+(product|item))\b"
    r"|\b(answer|verdict|label|grade)\W{0,3}(is|:|=)\W{0,3}(exact|relevant|e\b|3\b)"
    r"|\bcorrect\s+(label|grade|answer)\b"
    r"|\b(note|attention|message)\s+to\s+(the\s+)?(grader|judge|rater|assessor|model|reader)\b"
    r"|^\W*(system|assistant|user|human|ai)\s*:"
    r"|\bexact\s+match\s+for\s+(every|any|all|the|your)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"(?<=[.!?;])\s+|\n+")
_WORD = re.compile(r"[^\W\d_]{3,}")


def sanitized_shop(shop: Shop) -> Shop:
    """The shop with sanitized product texts; rows, queries and grades stay the same."""
    products = shop.products
    for name, longest in FIELDS.items():
        texts = [clean(text, longest, name != "attributes") for text in products[name].to_pylist()]
        products = products.set_column(products.column_names.index(name), name, pa.array(texts, pa.string()))
    return replace(shop, products=products)


def changed_title_share(shop: Shop) -> float:
    """Share of products whose title `sanitized_shop` changes; on a shop without attacks, its cost."""
    titles = shop.titles
    return sum(clean(title, FIELDS["title"]) != title for title in titles) / max(1, len(titles))


def clean(text: str, longest: int, spam: bool = True) -> str:
    """One field's text without text that is written for a judge; unchanged where there is none.

    longest: greatest length in words. spam: remove repeated words too (not in attribute lists, which repeat units).
    """
    plain = _MARKUP.sub(". ", _INVISIBLE.sub(" ", text))
    kept = [_COMMAND.split(clause, maxsplit=1)[0] for clause in _CLAUSE.split(plain)]
    changed = plain != text or any(map(_COMMAND.search, _CLAUSE.split(plain)))
    words = (" ".join(kept) if changed else text).split()
    unrepeated = _without_repeated(words) if spam else words
    if not changed and len(unrepeated) == len(words) <= longest:
        return text
    return " ".join(unrepeated[:longest]).strip(" .")


def _without_repeated(words: list[str]) -> list[str]:
    """The words without those repeated too often; one copy of each where nothing else would be left."""
    least = max(REPEATS, REPEATS * len(words) // FIELDS["title"])
    counts = Counter(_WORD.findall(" ".join(words).lower()))
    spam = {word for word, n in counts.items() if n >= least}
    if not spam:
        return words
    left = [word for word in words if spam.isdisjoint(_WORD.findall(word.lower()))]
    return left or list(dict.fromkeys(words))
