"""A language model that is told, not trained, to rewrite: zero-shot or with examples from the shop's log.

    qr evaluate --agent prompted:smollm2-135m few-shot:http://127.0.0.1:8000/v1

What it writes is read strictly (`read_rewrite`): an answer that is no plain one-line query leaves the original as it
is, and is counted by kind (`costs`). Boolean groups and JSON, which such models like to write, are read for what
they say.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass

from agents.prompted.generation import WritingAgent
from agents.text.boolean_query import is_boolean, parse
from agents.text.expansion import in_mode

# Small models go on with the next example, or repeat the cue.
_NEXT = re.compile(r"\n\s*(?:query|rewrite)\s*:", re.IGNORECASE)
LOOP = 3  # times that a rewrite may not say a word
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
class Prompted(WritingAgent):
    """In "expand" the rewrite is the words of the answer that the query lacks, else the answer."""

    name: str = "prompted"

    def read(self, query: str, text: str) -> tuple[str, str]:
        """By `read_rewrite`."""
        rewrite, fault = read_rewrite(text, query, self.asked.words)
        return ("", fault) if fault else (in_mode(query, rewrite, self.combine), "")


def read_rewrite(text: str, query: str, words: int) -> tuple[str, str]:
    """(the rewrite, ""), or ("", why the answer is none): empty, lines, markup, talk, long, loop.

    JSON {"rewrite": …}, a label before the query, quotes around it and a code fence are taken away; of Boolean groups
    the words stay, without those that are negated. words: more than these, and than the query has, are too long.
    """
    text = _unwrapped(_NEXT.split(text.strip(), maxsplit=1)[0].strip())
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "", "empty"
    if len(lines) > 1:
        return "", "lines"
    line = _LABEL.sub("", lines[0].strip().strip(_QUOTES)).strip(_QUOTES)
    line = " ".join((_flat(line) if is_boolean(line) else line).split()).rstrip(".!?,: ")
    if _MARKUP.search(line):
        return "", "markup"
    if not re.search(r"\w", line):
        return "", "empty"
    if _talks(line, query):
        return "", "talk"
    if len(line.split()) > max(words, len(query.split())):
        return "", "long"
    if max(Counter(re.findall(r"\w+", line.lower())).values()) >= LOOP:
        return "", "loop"
    return line, ""


def _flat(boolean: str) -> str:
    """The words of a Boolean query's groups, each once; what is negated is not among them."""
    texts = [text for group in parse(boolean).groups for text in group]
    return " ".join(dict.fromkeys(" ".join(texts).split()))


def _unwrapped(text: str) -> str:
    """The text of a JSON reply or of a code fence; anything else as it is."""
    text = _FENCE.sub("", text).strip()
    if not text.startswith("{"):
        return text
    try:
        stated = json.loads(text)
    except ValueError:
        return text
    value = next((stated[name] for name in ("rewrite", "query") if name in stated), None) if stated else None
    return value.strip() if isinstance(value, str) else text


def _talks(line: str, query: str) -> bool:
    """Whether the line speaks about the query instead of being one; words that the query has too say nothing."""
    own = query.lower()
    return any(match[0].lower() not in own for match in _TALK.finditer(line))
