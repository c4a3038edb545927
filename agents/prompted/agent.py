"""Prompted rewriter: a language model rewrites without training, zero-shot or with examples from the shop's query log.

    qr evaluate --agent prompted:smollm2-135m few-shot:http://127.0.0.1:8000/v1

`read_rewrite` parses the answers strictly: an answer that is not a plain one-line query keeps the original query and is
counted by kind of fault (`costs`). Boolean queries and JSON, which such models often write, are accepted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass

from agents.prompted.generation import GenerativeAgent
from agents.text.boolean_query import is_boolean, parse
from agents.text.expansion import rewrite_for_mode
from qr_env.language.tokenize import ENGLISH, Tokenizer

_NEXT_EXAMPLE = re.compile(r"\n\s*(?:query|rewrite)\s*:", re.IGNORECASE)
MAX_REPEATS = 2  # of one word in a rewrite
_LABEL = re.compile(r"^(?:the )?(?:rewritten|corrected|improved|search)?[ _-]*(?:query|rewrite)\s*:\s*", re.IGNORECASE)
_FENCE = re.compile(r"^```\w*\s*|\s*```$")
_QUOTES = "\"'`“”‘’«» "
_MARKUP = re.compile(r"[<>{}\[\]|\\*_=#~^;]|https?:|\$|:\s")
_TALK = re.compile(
    r"^(?:here|sure|certainly|of course|ok(?:ay)?|i|i'm|i'll|we|you|as an|this|these|it|it's|please|unfortunately|"
    r"sorry|to)\b|\b(?:rewritten|rewrite|query|queries|explanation|shopper|because|example)\b",
    re.IGNORECASE,
)


@dataclass
class PromptedAgent(GenerativeAgent):
    """In "expand" the rewrite is the words of the answer that the query lacks, else the answer."""

    name: str = "prompted"
    """For logs and reports."""
    tokenizer: Tokenizer = ENGLISH
    """Of the shop's language: tells which words the query has already."""

    def read(self, query: str, text: str) -> tuple[str, str]:
        """See `read_rewrite`."""
        rewrite, fault = read_rewrite(text, query, self.model.max_words)
        return ("", fault) if fault else (rewrite_for_mode(query, rewrite, self.combine, self.tokenizer), "")


def read_rewrite(text: str, query: str, max_words: int) -> tuple[str, str]:
    """(the rewrite, "") or ("", fault); the faults are empty, lines, markup, talk, long and loop.

    JSON {"rewrite": …}, a label before the query, quotes around it and a code fence are removed. Of a Boolean query the
    words remain, without the negated ones. A rewrite is too long with more words than `max_words` and than the query.
    """
    # Small models continue with the next example, or repeat the cue.
    text = _without_wrapping(_NEXT_EXAMPLE.split(text.strip(), maxsplit=1)[0].strip())
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "", "empty"
    if len(lines) > 1:
        return "", "lines"
    line = _LABEL.sub("", lines[0].strip().strip(_QUOTES)).strip(_QUOTES)
    line = " ".join((_words_of_boolean(line) if is_boolean(line) else line).split()).rstrip(".!?,: ")
    if _MARKUP.search(line):
        return "", "markup"
    if not re.search(r"\w", line):
        return "", "empty"
    if _is_conversation(line, query):
        return "", "talk"
    if len(line.split()) > max(max_words, len(query.split())):
        return "", "long"
    if max(Counter(re.findall(r"\w+", line.lower())).values()) > MAX_REPEATS:
        return "", "loop"
    return line, ""


def _words_of_boolean(boolean: str) -> str:
    """The distinct words of a Boolean query's groups, without the negated ones."""
    texts = [text for group in parse(boolean).groups for text in group]
    return " ".join(dict.fromkeys(" ".join(texts).split()))


def _without_wrapping(text: str) -> str:
    """The text inside a JSON reply or a code fence; any other text unchanged."""
    text = _FENCE.sub("", text).strip()
    if not text.startswith("{"):
        return text
    try:
        reply = json.loads(text)
    except ValueError:
        return text
    value = next((reply[name] for name in ("rewrite", "query") if name in reply), None) if reply else None
    return value.strip() if isinstance(value, str) else text


def _is_conversation(line: str, query: str) -> bool:
    """Whether the line talks about the query instead of being one; words that the query holds are no evidence."""
    own = query.lower()
    return any(match[0].lower() not in own for match in _TALK.finditer(line))
