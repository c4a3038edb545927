"""The contribution of each word of a rewrite, measured by leaving the word out.

    words = attribute(evaluator, positions, rewrites)      # one search for all of them
    words[0]                                   # [{"word": "sofa", "change": "added", "contribution": 0.31}, …]

contribution = headline figure of the complete rewrite − the figure without the word. For a word of the query that the
rewrite dropped: the figure without it − the figure with it appended. Two synonyms in one rewrite have no contribution
each, and contributions do not add up to the gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.query_text.kept import is_kept

FULL_COLOR = 0.3  # contribution from which on the color has full strength
NO_COLOR = 0.0005  # contribution below which there is no color


def attribute(
    evaluator: HeldOutEvaluator, positions: Sequence[int], rewrites: Sequence[str]
) -> list[list[dict[str, Any]]]:
    """The words of each rewrite of the evaluator's queries at `positions`, with their contributions.

    change: "added", "repeated" (the query has the word too), or "dropped" (only where the rewrite replaces the query).
    contribution: None without a verdict. A rewrite that keeps the query has no words.
    """
    changes: list[tuple[int, str, str, str]] = []  # example, word, change, the rewrite with that change undone
    for n, (position, rewrite) in enumerate(zip(positions, rewrites, strict=True)):
        query = evaluator.queries[position].text
        if not is_kept(query, rewrite):
            changes += [(n, *change) for change in single_word_changes(query, rewrite, evaluator.combine == "replace")]
    if not changes:
        return [[] for _ in positions]
    changed = [positions[n] for n, *_ in changes]
    figures = evaluator.score([*positions, *changed], [*rewrites, *(text for *_, text in changes)])
    complete, without = figures[: len(positions)], figures[len(positions) :]
    words: list[list[dict[str, Any]]] = [[] for _ in positions]
    for (n, word, change, _), figure in zip(changes, without, strict=True):
        contribution = float(complete[n] - figure)
        missing = contribution != contribution
        words[n].append({"word": word, "change": change, "contribution": None if missing else contribution})
    return words


def single_word_changes(query: str, rewrite: str, replaces: bool) -> list[tuple[str, str, str]]:
    """(word, change, the rewrite with this one change undone) for every word of the rewrite and every dropped word."""
    words, query_words = rewrite.split(), query.split()
    in_query = {word.casefold() for word in query_words}
    found = [
        (word, "repeated" if word.casefold() in in_query else "added", " ".join(words[:at] + words[at + 1 :]))
        for at, word in enumerate(words)
    ]
    in_rewrite = {word.casefold() for word in words}
    dropped = [word for word in query_words if word.casefold() not in in_rewrite] if replaces else []
    return found + [(word, "dropped", f"{rewrite} {word}") for word in dropped]


def word_styles(words: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The style of each word: CSS classes, strength of the color in per cent, and the text of the tooltip."""
    styles = []
    for word in words:
        contribution, change = word["contribution"], word["change"]
        style = {"text": word["word"], "dropped": change == "dropped", "color": "", "strength": 0, "number": ""}
        if contribution is None or abs(contribution) < NO_COLOR:
            style["tooltip"] = f"{change}: {'no verdict' if contribution is None else 'no difference'}"
        else:
            style["tooltip"], style["number"] = change, f"{contribution:+.2f}"
            style["color"] = "up" if contribution > 0 else "down"
            style["strength"] = 12 + round(48 * min(abs(contribution) / FULL_COLOR, 1.0))
        styles.append(style)
    return styles
