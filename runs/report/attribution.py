"""Which word earned it: every rewrite of the report's examples again, each time without one of its words.

    words = attribute(exam, places, rewrites)      # one search for all of them
    words[0]                                       # [{"word": "sofa", "did": "added", "worth": 0.31}, …]

worth = headline figure of the whole rewrite − the figure without the word; for a word of the query that the rewrite
left out: with it out − with it back at the end. Leave-one-out: two words that say the same have no worth each, and
worths do not add up to the gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qr_env.evaluation.evaluator import HeldOutEvaluator

FULL = 0.3  # a worth from which on the colour is full
LEAST = 0.0005  # a smaller one is none


def attribute(exam: HeldOutEvaluator, places: Sequence[int], rewrites: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The words of each rewrite of the exam's queries at `places`, with what each was worth (None: no verdict).

    did: "added", "repeated" (the query has it too), or "dropped" (where a rewrite stands instead of its query).
    A rewrite that leaves the query alone has none.
    """
    from qr_env.retrieval.combine import is_kept

    changes: list[tuple[int, str, str, str]] = []  # example, word, what was done, the rewrite with that undone
    for n, (place, rewrite) in enumerate(zip(places, rewrites, strict=True)):
        query = exam.queries[place].text
        if not is_kept(query, rewrite):
            changes += [(n, *change) for change in undone(query, rewrite, exam.combine == "replace")]
    if not changes:
        return [[] for _ in places]
    again = [places[n] for n, *_ in changes]
    figures = exam.score([*places, *again], [*rewrites, *(text for *_, text in changes)])
    whole_N, without = figures[: len(places)], figures[len(places) :]
    told: list[list[dict[str, Any]]] = [[] for _ in places]
    for (n, word, did, _), figure in zip(changes, without, strict=True):
        worth = float(whole_N[n] - figure)
        told[n].append({"word": word, "did": did, "worth": None if worth != worth else worth})
    return told


def undone(query: str, rewrite: str, replaces: bool) -> list[tuple[str, str, str]]:
    """(word, what the rewrite did with it, the rewrite had it not done so), word by word."""
    words, said = rewrite.split(), query.split()
    asked = {word.casefold() for word in said}
    found = [
        (word, "repeated" if word.casefold() in asked else "added", " ".join(words[:at] + words[at + 1 :]))
        for at, word in enumerate(words)
    ]
    left = {word.casefold() for word in words}
    dropped = [word for word in said if word.casefold() not in left] if replaces else []
    return found + [(word, "dropped", f"{rewrite} {word}") for word in dropped]


def coloured(words: Sequence[Mapping[str, Any]]) -> str:
    """The words of one rewrite as HTML: green earned, red cost, the stronger the more; dropped ones struck through."""
    return " ".join(map(_word, words))


def _word(word: Mapping[str, Any]) -> str:
    worth, text = word["worth"], escape(word["word"])
    text = f"<s>{text}</s>" if word["did"] == "dropped" else text
    if worth is None or abs(worth) < LEAST:
        told = "no verdict" if worth is None else "no difference"
        return f'<span class="word" title="{word["did"]}: {told}">{text}</span>'
    strength = 12 + round(48 * min(abs(worth) / FULL, 1.0))
    side = "up" if worth > 0 else "down"
    return (
        f'<span class="word {side}" style="--much:{strength}%" title="{word["did"]}">'
        f"{text}<small>{worth:+.2f}</small></span>"
    )
