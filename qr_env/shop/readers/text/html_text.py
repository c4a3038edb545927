"""Text of a cell without HTML: entities decoded, tags left out where it is certain that they are tags.

plain_text("<p>Caf&eacute;&nbsp;table</p><p>27&quot;</p>")      # 'Café table 27"'
plain_text("H&M, a < b, 3 <x, AT&T, <3")                         # unchanged
decode_entities("h&amp;m")                                      # "h&m"

Certain are: entities of HTML that end in a semicolon (a few, such as &amp, without one before a space), and tags
with a name of HTML whose attributes have values. <b>, <i>, <s>, <a>, <q> and <u> need their closing tag: "Size <S>".
"""

from __future__ import annotations

import html
import re
from functools import partial
from html.entities import html5

ROUNDS = 4  # of decoding: "&amp;amp;lt;" was encoded three times

# Tags between which there is a space when the page is shown, those without one, and those with content that is no text.
_BLOCKS = (
    "address article aside blockquote body br button caption center col colgroup dd details dir div dl dt fieldset "
    "figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe img input label "
    "legend li link main map menu meta nav noscript object ol optgroup option p param picture pre section select "
    "source summary table tbody td textarea tfoot th thead title tr track ul video audio embed"
)
_INLINE = (
    "a abbr acronym b base bdi bdo big cite code data del dfn em font i ins kbd mark nobr q rp rt ruby s samp small "
    "span strike strong sub sup time tt u var wbr"
)
# Start and end of what is no text.
_DROPPED = [
    (re.compile(rf"<{name}\b[^<>]*>", re.I), re.compile(rf"</{name}\s*>", re.I))
    for name in ("script", "style", "svg", "template")
]
_COMMENT = (re.compile("<!--"), re.compile("-->"))
_HAS_DROPPED = re.compile("<(?:script|style|svg|template)", re.I)
_NAMES = frozenset(f"{_BLOCKS} {_INLINE}".split())
_UNSPACED = frozenset(_INLINE.split())
_IN_PAIRS = frozenset("abiqsu")  # alone they may be a size or a variable

_VALUE = r"""\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>=`]+)"""
_ATTRIBUTES = rf"(?:\s+[\w:@.-]+(?:{_VALUE})|\s+(?:hidden|checked|disabled|selected|controls|async|defer|nowrap))*\s*/?"
_TAG = re.compile(rf"<(/?)([A-Za-z][A-Za-z0-9]*(?:[:-][\w.-]+)?)({_ATTRIBUTES})>")
_DECLARATION = re.compile(r"<!doctype[^<>]*>|<\?(?:xml|php)[^<>]*\?>|<!\[CDATA\[|\]\]>", re.I)
_CUT_OFF = re.compile(r"<(?:/[a-z0-9]*|br\s*/?|[a-z][a-z0-9]*\s+[\w-]+=[^<>]*)\s*", re.I)
_ENTITY = re.compile(
    r"&(?:#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,31};"
    r"|(?:amp|nbsp|quot|lt|gt|reg|copy|trade|deg)(?=\s|$))"
)
_SPACES = re.compile(r"\s+")


def plain_text(text: str) -> str:
    """The text without tags and entities, white space collapsed where there were any; other text as it is."""
    before = text
    for _ in range(ROUNDS):
        again = decode_once(_without_tags(text) if "<" in text else text)
        if again == text:
            break
        text = again
        if "&" not in text and "<" not in text:
            break
    return text if text == before else _SPACES.sub(" ", text).strip()


def decode_entities(text: str) -> str:
    """The text with its entities decoded, those that were encoded several times too."""
    for _ in range(ROUNDS):
        again = decode_once(text)
        if again == text:
            break
        text = again
    return text


def decode_once(text: str) -> str:
    """The text with each certain entity decoded once."""
    return _ENTITY.sub(_decoded, text) if "&" in text else text


def _decoded(entity: re.Match[str]) -> str:
    name = entity.group()
    if name[1] == "#":
        return html.unescape(name).replace("\ufffd", "")
    return html5.get(f"{name[1:].rstrip(';')};", name)


def _without_tags(text: str) -> str:
    if "<!--" in text:
        text = _without_between(text, *_COMMENT)
    if _HAS_DROPPED.search(text):
        for start, end in _DROPPED:
            text = _without_between(text, start, end)
    if "<!" in text or "<?" in text:
        text = _DECLARATION.sub(" ", text)
    found = _TAG.findall(text)
    closed = {name.lower() for slash, name, _ in found if slash}
    paired = frozenset(name.lower() for slash, name, _ in found if not slash and name.lower() in closed)
    return _without_cut_off(_TAG.sub(partial(_instead, paired), text))


def _without_cut_off(text: str) -> str:
    """The text without tags at its end that were cut off: a limit of characters ends in the middle of one."""
    end = len(text)
    while (start := text.rfind("<", 0, end)) >= 0 and _CUT_OFF.fullmatch(text, start, end):
        end = start
    return text if end == len(text) else f"{text[:end]} "


def _without_between(text: str, start: re.Pattern[str], end: re.Pattern[str]) -> str:
    """The text without what stands between two patterns; without its rest where the end is cut off and it is code."""
    kept, at = [], 0
    while first := start.search(text, at):
        last = end.search(text, first.end())
        if last is None and first.group() != "<!--" and "{" not in text[first.end() :]:
            break
        kept.append(text[at : first.start()])
        at = last.end() if last else len(text)
    return " ".join([*kept, text[at:]])


def _instead(paired: frozenset[str], tag: re.Match[str]) -> str:
    """What stands in for a tag: a space, nothing, or the tag itself where it may be no tag.

    `paired` are the names that are opened and closed in the text.
    """
    slash, name, attributes = tag.groups()
    name = name.lower()
    if name in paired or ":" in name:
        certain = True
    elif name in _NAMES:
        certain = bool(slash or attributes.strip(" /")) or name not in _IN_PAIRS
    else:
        certain = "-" in name and bool(attributes.strip(" /"))
    return tag.group() if not certain else "" if name in _UNSPACED or ":" in name else " "
