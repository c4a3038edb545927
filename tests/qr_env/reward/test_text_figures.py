"""Figures of texts: hand-made cases, Python's own words, and the figures of the former compiled implementation."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qr_env.reward.text_figures import text_figures
from qr_env.shop.load import load_shop

# Few letters, so that words repeat; letters that change length when case-folded, a surrogate, all kinds of spaces.
WORDS = st.text(st.sampled_from("aAbßẞİé中\ud800😀 \n\t\x1c\x85\xa0\u2003\u3000\u200b"), max_size=12)
# Sum, and beginning of the SHA-256 of the float32 bytes, as the numba implementation computed them at commit 8ff7f88.
EXPECTED = {
    "words": (28108, "d63d1a6ecf334245"),
    "words_original": (20785, "5ff2e5b4c5932e6f"),
    "copied": (15892, "d50f9ac92e2838e0"),
    "kept": (1500, "1203656ae189c696"),
}


def test_text_figures_count_words_and_copies() -> None:
    originals = ["red couch", "red couch", "red couch", "red couch"]
    texts = text_figures(originals, ["Red sofa sofa", " RED  couch", "", "crimson settee"])
    assert texts.words.tolist() == [3, 2, 0, 2] and texts.words_original.tolist() == [2] * 4
    assert texts.copied.tolist() == [2, 2, 0, 0]
    assert texts.kept.tolist() == [False, True, True, False]
    assert len(text_figures([], []).words) == 0


def test_weights_are_no_part_of_the_words_and_faulty_ones_are_counted() -> None:
    figures = text_figures(["red 2^3", "red sofa", "red"], ["red 2^3", "red^2 sofa couch^0.3", "a^ b^99"])
    assert figures.words.tolist() == [2, 3, 2]
    assert figures.copied.tolist() == [1, 2, 0]
    assert figures.kept.tolist() == [True, False, False]
    assert figures.malformed_weights.tolist() == [0, 0, 1]
    assert figures.clipped_weights.tolist() == [0, 0, 1]


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_text_figures_equal_pythons_own_words(pairs: list[tuple[str, str]]) -> None:
    texts = text_figures(*map(list, zip(*pairs, strict=True)))
    for n, (original, rewrite) in enumerate(pairs):
        original_words, rewrite_words = original.casefold().split(), rewrite.casefold().split()
        assert (texts.words_original[n], texts.words[n]) == (len(original_words), len(rewrite_words))
        assert texts.copied[n] == len(rewrite_words) - len(set(rewrite_words) - set(original_words))
        assert texts.kept[n] == (not rewrite_words or rewrite_words == original_words)


def test_figures_of_four_thousand_generated_queries_equal_those_of_the_compiled_implementation() -> None:
    shop = load_shop("generated")
    texts = [query.text for query in shop.all_queries]
    order = np.random.default_rng(0).permutation(len(texts))[:4000].tolist()
    originals = [texts[row] for row in order]
    rewrites = []
    for n, row in enumerate(order):
        base, other = texts[row], texts[(row * 7 + 3) % len(texts)]
        variants = (base.upper(), f"{base}  {other}", other, f"{other} {other}", shop.titles[n], f" {base}\u00a0", "")
        rewrites.append((*variants, f"{base} Straße\u2003{base}")[n % 8])
    figures = text_figures(originals, rewrites)
    for name, (total, digest) in EXPECTED.items():
        values = np.ascontiguousarray(getattr(figures, name), np.float32)
        assert (values.sum(), hashlib.sha256(values.tobytes()).hexdigest()[:16]) == (total, digest), name
