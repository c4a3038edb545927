"""Noise in shoppers' queries: typos, joined and split words, units, plurals, omitted words.

noisy_text(["usb", "headphones"], random.Random(3), {"head", "phones"}, ENGLISH.language)  # "usb head phones"
typo_variant("coffee grinder", random.Random(3))                                           # "cofee grinder"
typo("掃除機", random.Random(0))                                                            # "掃機除"

Errors follow the script of a word: neighbouring keys and phonetic spellings are those of Latin letters on a QWERTY
keyboard; accents and vowel signs stay with their letter; ideographs and Korean syllables are swapped and dropped, not
doubled. English plurals and names of units are for English shops alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping

from qr_env.language.codes import Language
from qr_env.language.scripts import LATIN, UNSPACED, clusters, is_word, script, script_of, without_accents

# Neighbours of a … z on a QWERTY keyboard, letters only.
_NEIGHBOURS = """
sqwz vghn xdfv serfcx wsdr drtgvc ftyhbv gyujnb ujko huikmn jiolm kop njk bhjm iklp ol wa edft awedxz rfgy yhji cfgb
qase zsdc tghu asx
"""
_NEAR = dict(zip("abcdefghijklmnopqrstuvwxyz", _NEIGHBOURS.split(), strict=True))
_UNIT_WORDS = {'"': "inch", "in": "inch", "pcs": "pack", "pieces": "pack"}
_LONG_UNITS = {"inch": ("in", '"'), "m": ("meter", "metre"), "ft": ("foot", "feet"), "w": ("watt",), "l": ("litre",)}


def size_text(number: str, unit: str, language: Language) -> str:
    """A size in its standard form: size_text("500", "gb", …) is "500 gb"."""
    return f"{number} {_UNIT_WORDS.get(unit, unit) if language.code == 'en' else unit}"


def noisy_text(words: list[str], rng: random.Random, known: Collection[str], language: Language) -> str:
    """The words as a text with one change of the language's list, in a quarter of the cases two, where possible.

    Args:
        known: the catalogue's words, which decide where a compound is split ("headphones" → "head phones").
        language: of the words.
    """
    original = words
    changes = _ENGLISH_CHANGES if language.code == "en" else _OTHER_CHANGES
    for _ in range(rng.choice((1, 1, 1, 2))):
        # A weighted order without replacement (Efraimidis and Spirakis 2006).
        for change, _ in sorted(changes, key=lambda change: rng.random() ** (1 / change[1]), reverse=True):
            if (changed := change(words, rng, known)) not in (words, original):
                words = changed
                break
    return " ".join(words)


def typo(word: str, rng: random.Random) -> str:
    """The word with one typing error, never in the first letter: swapped, dropped, doubled or neighbouring letters.

    A word of fewer than three letters has none. Letters keep their marks (`qr_env.language.scripts.clusters`).
    """
    letters = clusters(word)
    if len(letters) < 3:
        return word
    at = rng.randrange(1, len(letters) - 1)
    before, (letter, after), rest = letters[:at], letters[at : at + 2], letters[at + 2 :]
    variants = [[*before, after, letter, *rest], [*before, after, *rest]]
    if not UNSPACED.match(word):
        variants.append([*before, letter, letter, after, *rest])
    if letter in _NEAR:
        variants.append([*before, rng.choice(_NEAR[letter]), after, *rest])
    elif script(letter[0]) == LATIN:
        variants.append([*before, without_accents(letter), after, *rest])
    return "".join(rng.choice(variants))


def typo_variant(text: str, rng: random.Random) -> str:
    """The text with one error: a typo, a phonetic spelling, two words joined or one split; the text itself where none
    is possible. No list of known words is needed."""
    words = text.split()
    for change, _ in sorted(_TYPO_CHANGES, key=lambda change: rng.random() ** (1 / change[1]), reverse=True):
        if (changed := change(words, rng)) != words:
            return " ".join(changed)
    return text


def phonetic_misspelling(word: str, rng: random.Random) -> str:
    """The word with one phonetic spelling error: a letter group replaced by one with the same sound, another vowel, or
    a double letter written once; never the first letter. The word itself where none is possible."""
    variants = [
        word[:at] + new + word[at + len(old) :]
        for old, new in _SOUNDS
        for at in range(1, len(word) - len(old) + 1)
        if word.startswith(old, at)
    ]
    variants += [word[:at] + word[at + 1 :] for at in range(1, len(word)) if word[at] == word[at - 1]]
    vowels = [at for at in range(1, len(word)) if word[at] in "aeiou"]
    variants += [word[:at] + rng.choice("aeiou".replace(word[at], "")) + word[at + 1 :] for at in vowels]
    return rng.choice(variants) if variants else word


# Spellings of the same sound in English, in both directions where both occur.
_SOUNDS = [("ph", "f"), ("f", "ph"), ("ck", "k"), ("c", "k"), ("k", "c"), ("s", "z"), ("z", "s"), ("y", "i")]
_SOUNDS += [("i", "y"), ("qu", "kw"), ("x", "ks"), ("ee", "ea"), ("ea", "ee"), ("ou", "u"), ("v", "w"), ("w", "v")]


def _long_words(words: list[str]) -> list[int]:
    """Positions of the words of letters alone that are long enough for an error: four letters, or three ideographs."""
    return [at for at, word in enumerate(words) if is_word(word) and len(clusters(word)) > _least_letters(word)]


def _least_letters(word: str) -> int:
    return 2 if UNSPACED.match(word) else 3


def _typo_change(words: list[str], rng: random.Random) -> list[str]:
    return _typo(words, rng, ())


def _phonetic_change(words: list[str], rng: random.Random) -> list[str]:
    long = [at for at in _long_words(words) if script_of(words[at]) == LATIN]
    if not long:
        return words
    at = rng.choice(long)
    return [*words[:at], phonetic_misspelling(words[at], rng), *words[at + 1 :]]


def _join_change(words: list[str], rng: random.Random) -> list[str]:
    pairs = [at for at in range(len(words) - 1) if is_word(words[at] + words[at + 1])]
    if not pairs:
        return words
    at = rng.choice(pairs)
    return [*words[:at], words[at] + words[at + 1], *words[at + 2 :]]


def _split_change(words: list[str], rng: random.Random) -> list[str]:
    long = [at for at in _long_words(words) if len(clusters(words[at])) > 5]
    if not long:
        return words
    at = rng.choice(long)
    letters = clusters(words[at])
    cut = rng.randrange(3, len(letters) - 2)
    return [*words[:at], "".join(letters[:cut]), "".join(letters[cut:]), *words[at + 1 :]]


_TYPO_CHANGES: list[tuple[Callable[[list[str], random.Random], list[str]], float]] = [
    (_typo_change, 4.0),
    (_phonetic_change, 3.0),
    (_join_change, 2.0),
    (_split_change, 1.0),
]


def _typo(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    long = _long_words(words)
    if not long:
        return words
    at = rng.choice(long)
    return [*words[:at], typo(words[at], rng), *words[at + 1 :]]


def _join(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    pairs = [at for at in range(len(words) - 1) if words[at] in known and words[at + 1] in known]
    short = [at for at in pairs if min(map(len, words[at : at + 2])) > 2 and sum(map(len, words[at : at + 2])) < 13]
    if not short:
        return words
    at = rng.choice(short)
    return [*words[:at], words[at] + words[at + 1], *words[at + 2 :]]


def _split(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    cuts = [
        (at, cut)
        for at, word in enumerate(words)
        for cut in range(3, len(word) - 2)
        if word[:cut] in known and (word[cut:] in known or word[cut:].removesuffix("s") in known)
    ]
    if not cuts:
        return words
    at, cut = rng.choice(cuts)
    return [*words[:at], words[at][:cut], words[at][cut:], *words[at + 1 :]]


def _plural(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    """The last English word in the other grammatical number."""
    plain = [at for at, word in enumerate(words) if word.isascii() and word.isalpha() and len(word) > 2]
    if not plain:
        return words
    word = words[plain[-1]]
    if word.endswith(("ss", "us", "is", "x", "ch", "sh")):
        other = word + "es"
    elif word.endswith("s"):
        other = word[:-1]
    elif word.endswith("y") and word[-2] not in "aeiou":
        other = word[:-1] + "ies"
    else:
        other = word + "s"
    return [*words[: plain[-1]], other, *words[plain[-1] + 1 :]]


def _english_unit(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    """ "500 gb" → "500gb" or "0.5 tb"; "15 inch" → "15in"."""
    return _other_unit(words, rng, _LONG_UNITS)


def _unit(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    """ "500 gb" → "500gb" or "0.5 tb"."""
    return _other_unit(words, rng, {})


def _other_unit(words: list[str], rng: random.Random, long_units: Mapping[str, tuple[str, ...]]) -> list[str]:
    at = next((at for at, word in enumerate(words) if " " in word and word[0].isdigit()), None)
    if at is None:
        return words
    number, unit = words[at].split(" ", 1)
    forms = [number + unit, *(f"{number} {long}" for long in long_units.get(unit, ()))]
    if unit == "gb" and float(number) >= 250:
        forms.append(f"{float(number) / (1000 if float(number) % 1000 in (0, 500, 250) else 1024):.3g} tb")
    if unit == "tb":
        forms.append(f"{float(number) * 1000:.0f}gb")
    return [*words[:at], rng.choice(forms), *words[at + 1 :]]


def _drop(words: list[str], rng: random.Random, known: Collection[str]) -> list[str]:
    """Omit one word, not the last one."""
    if len(words) < 3:
        return words
    at = rng.randrange(len(words) - 1)
    return [*words[:at], *words[at + 1 :]]


Change = Callable[[list[str], random.Random, Collection[str]], list[str]]
# Each change with its weight; if it is impossible, the next one is tried.
_ENGLISH_CHANGES: list[tuple[Change, float]] = [
    (_typo, 4.0),
    (_join, 1.5),
    (_split, 3.0),
    (_plural, 2.0),
    (_english_unit, 6.0),
    (_drop, 0.5),
]
_OTHER_CHANGES: list[tuple[Change, float]] = [(_typo, 4.0), (_join, 1.5), (_split, 3.0), (_unit, 6.0), (_drop, 0.5)]
