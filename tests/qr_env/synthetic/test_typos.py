"""Typo variants: a different, similar text with the same first letters; deterministic for a seed."""

import random
from difflib import SequenceMatcher

import pytest

from qr_env.synthetic.typos import phonetic_misspelling, typo_variant

TEXTS = ["coffee grinder", "wireless noise cancelling headphones", "sofa", "led tv 55 inch", "phone case"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_typo_variant_is_similar_and_keeps_the_first_letter(text):
    variants = [typo_variant(text, random.Random(seed)) for seed in range(50)]
    assert all(new != text and new[0] == text[0] for new in variants)
    assert min(SequenceMatcher(None, text, new).ratio() for new in variants) > 0.6
    assert variants == [typo_variant(text, random.Random(seed)) for seed in range(50)]


def test_every_kind_of_typo_occurs():
    variants = {typo_variant("coffee grinder", random.Random(seed)) for seed in range(400)}
    assert "coffeegrinder" in variants  # joined
    assert any(new.count(" ") == 2 for new in variants)  # split
    assert "koffee grinder" not in variants and {"cofee grinder", "coffee grynder"} <= variants  # phonetic
    assert "coffee girnder" in variants  # letters swapped


@pytest.mark.parametrize("text", ["", "tv", "55 4k", "a b"])
def test_a_text_without_long_words_is_unchanged_or_joined(text):
    assert typo_variant(text, random.Random(0)) in (text, text.replace(" ", ""))


def test_phonetic_misspelling():
    variants = {phonetic_misspelling("philips", random.Random(seed)) for seed in range(200)}
    assert {"phylips", "philipz", "phileps"} & variants and all(word[0] == "p" for word in variants)
    assert phonetic_misspelling("tv", random.Random(0)) in ("tv", "tw")
