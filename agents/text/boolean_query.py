"""Parser of Boolean queries, which large models often write: `(couch OR sofa) AND "navy blue" NOT leather`.

    parse("(couch OR sofa) AND \\"navy blue\\" NOT leather")
    # Boolean(groups=(("couch", "sofa"), ("navy blue",)), excluded=("leather",))

Rules for ambiguous syntax:
- AND binds tighter than OR. Adjacent groups are joined by AND; adjacent plain words are one phrase.
- Operators are in capitals. In lower case they count only if no operator is in capitals and there are parentheses, so
  that "black and decker" stays a brand.
- Quotes are double, single or curly; an apostrophe inside a word, and inches (18"), are not quotes.
- A conjunction inside an OR becomes one phrase of first alternatives: `(iphone AND (7 OR seven)) OR mobile` gives
  "iphone 7" and "mobile".
- A field's name is dropped ("brand:rhino"), a comparison is dropped with its value ("price <= 400",
  "price:[200 TO 260]").
- Operators inside quotes are operators: `"free OR gratis"` is two alternatives.
- Unbalanced parentheses are tolerated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_CHARACTERS = 2_000
MAX_DEPTH = 50  # nested parentheses; deeper ones are ignored
_CURLY = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"})
_INCHES = re.compile(r"(?<=\d)[”″]|(?<=\d)\\+\"(?=\")")
_COMPARISON = re.compile(r"\w+:\[[^\]]*\]|\w+:?\s*[<>]=?\s*[\w.$£€]+")
_LOST_QUOTE = re.compile(r"[^\"(]*\w\"\s")  # the first quote is a closing one: a CSV reader removed the opening one
_QUOTED = re.compile(r"(?<!\w)\"([^\"()]*)\"")
_TOKEN = re.compile(
    r"""
    (?P<quoted> (?<!\w)"(?:[^"()])*" | (?<!\w)'(?:[^'()]|(?<=\w)'(?=\w))+'(?!\w) )
  | (?P<open>   \( )
  | (?P<close>  \) )
  | (?P<bar>    \|+ )
  | (?P<word>   [^\s()"|=]+ )
    """,
    re.VERBOSE,
)
_FIELD = re.compile(r"^[a-z_]+:(?=\w)")
_OPERATOR = re.compile(r"\b(?:AND|OR|NOT)\b")
_LOWER_OPERATOR = re.compile(r"\b(?:and|or|not)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Boolean:
    """A parsed Boolean query: a conjunction of alternatives."""

    groups: tuple[tuple[str, ...], ...]
    """Every group must match; each is a tuple of alternative phrases."""
    excluded: tuple[str, ...]
    """Phrases that must not match."""


@dataclass
class _Node:
    """A node of the syntax tree."""

    kind: str
    """ "term", "and", "or" or "not"."""
    text: str = ""
    """The phrase of a term."""
    parts: list[_Node] = field(default_factory=list)
    """Operands of an operator."""


def is_boolean(text: str) -> bool:
    """Whether a text has Boolean operators."""
    bare = re.sub(r"\"[^\"]*\"", " ", _normalized(text))
    return bool(_OPERATOR.search(bare)) or ("(" in bare and bool(_LOWER_OPERATOR.search(bare))) or "|" in bare


def _normalized(text: str) -> str:
    """The text with double quotes only, lost quotes restored, none around operators, and without comparisons."""
    text = _COMPARISON.sub(" ", _INCHES.sub("", text[:MAX_CHARACTERS]).translate(_CURLY))
    if _LOST_QUOTE.match(text) and text.count('"') % 2 == 0:
        text = f'"{text}"'
    return _QUOTED.sub(lambda quoted: f"({quoted[1]})" if _OPERATOR.search(quoted[1]) else quoted[0], text)


def parse(text: str) -> Boolean:
    """Parse a Boolean query; a text without operators is one group of one phrase."""
    excluded: list[str] = []
    groups = _groups(_Parser(list(_tokens(text))).read(), excluded)
    return Boolean(tuple(tuple(dict.fromkeys(group)) for group in groups if group), tuple(dict.fromkeys(excluded)))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text); kinds are "term", "word", the operators, "open" and "close"."""
    text = _normalized(text)
    capitals = bool(_OPERATOR.search(re.sub(r"\"[^\"]*\"", " ", text)))
    for match in _TOKEN.finditer(text):
        kind, word = str(match.lastgroup), match.group()
        if kind == "quoted":
            yield "term", word[1:-1]
        elif kind == "bar":
            yield "or", word
        elif kind in ("open", "close"):
            yield kind, word
        elif kind == "word":
            folded = word if capitals else word.upper() if "(" in text else ""
            yield (folded.lower(), word) if folded in ("AND", "OR", "NOT") else ("word", _FIELD.sub("", word))


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0

    def read(self) -> _Node:
        """The whole tree; text after an unmatched ")" is joined to the tree before it."""
        tree = self.alternatives()
        while self.at < len(self.tokens):
            self.at += 1  # an unmatched ")"
            kind = self.kind
            if kind in ("and", "or"):
                self.at += 1
            more = self.alternatives()
            tree = _Node("or" if kind == "or" else "and", parts=[tree, more])
        return tree

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def alternatives(self) -> _Node:
        """a OR b OR c."""
        parts = [self.conjunction()]
        while self.kind == "or":
            self.at += 1
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else _Node("or", parts=parts)

    def conjunction(self) -> _Node:
        """a AND b, or a b."""
        parts: list[_Node] = []
        while self.kind not in ("", "or", "close"):
            if self.kind == "and":
                self.at += 1
                continue
            parts.append(self.single())
        return parts[0] if len(parts) == 1 else _Node("and", parts=parts)

    def single(self) -> _Node:
        """NOT a, a group, or a phrase."""
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "not":
            return _Node("not", parts=[self.single()] if self.kind not in ("", "or", "close", "and") else [])
        if kind == "open":
            return self.group()
        words = [text]
        while kind == "word" and self.kind == "word":
            words.append(self.tokens[self.at][1])
            self.at += 1
        return _Node("term", " ".join(" ".join(words).split()))

    def group(self) -> _Node:
        """The content of a pair of parentheses."""
        if self.depth >= MAX_DEPTH:
            return _Node("and")
        self.depth += 1
        inner = self.alternatives()
        self.depth -= 1
        if self.kind == "close":
            self.at += 1
        return inner


def _groups(node: _Node, excluded: list[str]) -> list[list[str]]:
    """The groups of a node; negated phrases are appended to `excluded`."""
    if node.kind == "and":
        return [group for part in node.parts for group in _groups(part, excluded)]
    return [_alternatives(node, excluded)]


def _alternatives(node: _Node, excluded: list[str]) -> list[str]:
    """The alternative phrases of a node; negated phrases are appended to `excluded`."""
    if node.kind == "term":
        return [node.text] if node.text else []
    offers = [_alternatives(part, excluded) for part in node.parts]
    if node.kind == "not":
        excluded.extend(text for offer in offers for text in offer)
        return []
    if node.kind == "or":
        return [text for offer in offers for text in offer]
    phrase = " ".join(offer[0] for offer in offers if offer)
    return [phrase] if phrase else []
