"""Words that a language model names for a query.

    model = PromptedModel(open_language_model("smollm2-135m"), PromptFile.load("words_v1"), max_words=8)
    source = TeacherSource(model, TitleStems(shop.titles, shop.tokenizer))
    source.suggest(["something to keep coffee hot"])   # [[Suggestion("thermos", 1.0, "teacher"), …]]

The model is asked for a few words by which a shop's titles name the product. Its answers are generated once and kept
(`agents.prompted.generation.PromptedModel`). Answers that are no list of words are dropped, and counted by kind of
fault in the model's `costs`. Of an answer's words those remain that some titles, but not too many, have (`TitleStems`):
the rest finds nothing. The order is the model's only statement of confidence: its r-th word weighs 1 / r.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from agents.suggestions.base import Suggestion
from agents.suggestions.title_words import TitleStems
from qr_env.language.tokenize import Tokenizer

MAX_WORDS = 8  # that the prompt asks for
LONGEST = 3 * MAX_WORDS  # words of an answer; a longer one is no list
_LABEL = re.compile(r"^(?:the )?(?:product |title |search )?(?:words|keywords|terms)\s*:\s*", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_MARKUP = re.compile(r"[<>{}\[\]|\\=#~^$]|https?:|:\s")
_TALK = re.compile(
    r"\b(?:here|sure|certainly|sorry|cannot|i|i'm|you|your|because|example|query|shopper|would|could|please)\b", re.I
)


class TextGenerator(Protocol):
    """Generates one text a query, as `agents.prompted.generation.PromptedModel` does."""

    faults: dict[str, str]
    """Query → why its text could not be used."""

    @property
    def key(self) -> str:
        """Identifies model, prompt and decoding."""
        ...

    def texts(self, queries: Sequence[str]) -> Mapping[str, str]:
        """Query → text; queries that failed are left out."""
        ...


class TeacherSource:
    """A language model's words, as far as titles have them.

    Args:
        model: asked with the prompt `words_v1`, or one like it.
        stems: of the shop's titles: the words that may be suggested.
    """

    name = "teacher"

    def __init__(self, model: TextGenerator, stems: TitleStems) -> None:
        self.model, self._stems = model, stems
        self._tokenizer = stems.tokenizer

    def suggest(self, queries: Sequence[str]) -> list[list[Suggestion]]:
        """See `SuggestionSource.suggest`. A query without a usable answer has no suggestion."""
        texts = self.model.texts([query for query in queries if query.strip()])
        return [self._read(query, texts[query]) if query in texts else [] for query in queries]

    def _read(self, query: str, text: str) -> list[Suggestion]:
        words, fault = read_words(text, query, self._tokenizer)
        if fault:
            self.model.faults[query] = fault
        own = set(map(self._tokenizer.stem, self._tokenizer.words(query)))
        found: dict[str, str] = {}
        for word in words:
            stem = self._tokenizer.stem(word)
            if stem in self._stems.number and stem not in own:
                found.setdefault(stem, word)
        return [Suggestion(word, 1 / rank, self.name) for rank, word in enumerate(list(found.values())[:MAX_WORDS], 1)]


def read_words(text: str, query: str, tokenizer: Tokenizer) -> tuple[list[str], str]:
    """(the words of a list that commas, spaces or lines separate, "") or ([], fault).

    The faults are empty, markup, talk (a sentence instead of words; the query's own words are no evidence of one) and
    long (more than `LONGEST` words).
    """
    lines = [_BULLET.sub("", line).strip() for line in text.strip().splitlines() if line.strip()]
    line = _LABEL.sub("", ", ".join(lines)).strip("\"'`“”. ")
    words = tokenizer.words(line)
    own = set(query.lower().split())
    if not words:
        return [], "empty"
    if _MARKUP.search(line):
        return [], "markup"
    english = tokenizer.language.code == "en"  # "i" is "and" in Polish
    if any(match[0].lower() not in own and (english or len(match[0]) > 1) for match in _TALK.finditer(line)):
        return [], "talk"
    if len(words) > LONGEST:
        return [], "long"
    return words, ""
