"""`agents.suggestions.title_words`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.suggestions.title_words import TitleStems, title_model, word_counts
from qr_env.common.types import Hits
from qr_env.language.tokenize import ENGLISH
from tests.helpers.catalogue import random_titles

TITLES = ["Red paints 5 gal", "paint roller", "roller covers", "the cover s", "deck paint"]


def test_word_counts_counts_every_word_of_every_title() -> None:
    words, counts_CV = word_counts(["a red red sofa", "", "sofa"], ENGLISH)
    assert words == ["a", "red", "sofa"]
    assert counts_CV.toarray().tolist() == [[1, 2, 1], [0, 0, 0], [0, 0, 1]]


def test_title_model_drops_stop_words_single_letters_and_common_words() -> None:
    words, share = title_model(["The red sofa s", "blue sofa for two", "green sofa"], ENGLISH, max_share=0.5)
    assert words == ["red", "blue", "two", "green"]
    assert share.toarray() == pytest.approx(np.array([[0.25, 0, 0, 0], [0, 0.25, 0.25, 0], [0, 0, 0, 0.5]]))


def test_a_stem_is_called_by_the_word_that_most_titles_have() -> None:
    stems = TitleStems(TITLES, ENGLISH, min_titles=2, max_share=1.0)
    assert stems.words == ["paint", "roller", "covers"]  # "covers" and "cover" are equally frequent: the first one
    assert stems.number == {"paint": 0, "roller": 1, "cover": 2}
    assert stems.has_CV.toarray().tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 0]]
    assert stems.idf_V.tolist() == pytest.approx([math.log(1 + (5 - n + 0.5) / (n + 0.5)) for n in (3, 2, 2)])


def test_rare_and_common_stems_numbers_stop_words_and_single_letters_have_no_column() -> None:
    assert TitleStems(TITLES, ENGLISH, min_titles=1, max_share=0.4).words == ["red", "gal", "roller", "covers", "deck"]
    assert TitleStems(TITLES, ENGLISH, min_titles=3, max_share=1.0).words == ["paint"]
    assert TitleStems([], ENGLISH, min_titles=1).words == []


def test_shares_are_of_the_products_that_a_list_has() -> None:
    stems = TitleStems(TITLES, ENGLISH, min_titles=2, max_share=1.0)
    rows_NK = np.array([[0, 1, 2, -1], [-1, -1, -1, -1]], np.int32)
    shares = stems.shares(Hits(rows_NK, np.zeros((2, 4), np.float32))).toarray()
    assert shares == pytest.approx(np.array([[2 / 3, 2 / 3, 1 / 3], [0, 0, 0]]))


def test_shares_agree_with_counting_by_hand() -> None:
    titles = random_titles(200, seed=1)
    stems = TitleStems(titles, ENGLISH)
    rows_NK = np.random.default_rng(0).integers(-1, 200, (7, 20)).astype(np.int32)
    shares = stems.shares(Hits(rows_NK, np.zeros(rows_NK.shape, np.float32))).toarray()
    for rows_K, shares_V in zip(rows_NK, shares, strict=True):
        found = [stems.presence([titles[row]]).toarray()[0] for row in rows_K if row >= 0]
        assert shares_V == pytest.approx(np.mean(found, axis=0))


def test_presence_is_by_stem() -> None:
    stems = TitleStems(TITLES, ENGLISH, min_titles=2, max_share=1.0)
    assert stems.presence(["painting rollers", "", "xyz"]).toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
