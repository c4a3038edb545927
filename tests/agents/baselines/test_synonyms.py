"""Synonyms: the four dictionary formats, which words are added, and a missing dictionary."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.baselines import synonyms
from agents.baselines.synonyms import Synonyms, read_dictionary
from qr_env.common.errors import ConfigError
from qr_env.shop.shop import Shop
from tests.helpers.fakes import tiny_shop

MYTHES = "UTF-8\ncouch|2\n(noun)|sofa|lounge|seat (generic term)\n(verb)|frame\ntrainers|1\n(noun)|running shoes\n"
WORDNET = (
    "  1 This is the licence\n"
    "00000001 06 n 03 couch 0 sofa 0 lounge 0 001 @ 00000009 n 0000 | a seat for more than one person\n"
    "00000002 06 n 02 running_shoe 0 trainers(p) 0 000 | a light shoe\n"
)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return tiny_shop()


def written(folder: Path, form: str) -> Path:
    if form == "wordnet":
        for name in synonyms.WORDNET_FILES:
            (folder / name).write_text(WORDNET if name == "data.noun" else "  1 This is the licence\n")
        return folder
    texts = {
        ".dat": MYTHES,
        ".tsv": "# our list\ncouch\tsofa|lounge\ntrainers\trunning shoes\n",
        ".jsonl": '{"word": "couch", "synonyms": ["sofa", "lounge"]}\n'
        '{"word": "trainers", "synonyms": ["running shoes"]}\n',
    }
    path = folder / f"words{form}"
    path.write_text(texts[form])
    return path


@pytest.mark.parametrize("form", [".dat", ".tsv", ".jsonl", "wordnet"])
def test_every_file_format_gives_the_same_synonyms(shop: Shop, tmp_path: Path, form: str) -> None:
    agent = Synonyms(shop, written(tmp_path, form))
    found = [row[0] for row in agent.rewrite(["Blue Couch", "couches", "trainers", "frosta", "", "zzz"])]
    # "lounge" is in no title; a word that is not in the dictionary, or known to the catalogue, is skipped.
    assert found[:2] == ["sofa", "sofa"] and found[3:] == ["frosta", "", "zzz"]
    assert set(found[2].replace("shoes", "shoe").split()) == {"running", "shoe"}


def test_broader_words_and_verbs_of_mythes_are_skipped(tmp_path: Path) -> None:
    entries = list(read_dictionary(written(tmp_path, ".dat")))
    assert entries == [("couch", ["sofa", "lounge"]), ("trainers", ["running shoes"])]


def test_known_words_are_skipped_and_frequent_synonyms_preferred(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "s.tsv"
    path.write_text("red\tcrimson|black|pink\nrunning shoes\tsofa\nshoes\trefrigerator\nfrost box\trefrigerator\n")
    assert Synonyms(shop, path).rewrite(["red sofa"]) == [["red sofa"]]
    every = Synonyms(shop, path, limit=1, unknown_only=False)
    assert every.rewrite(["red"]) == [["black"]]  # crimson is not sold; of the others the first by count, then by name
    assert every.rewrite(["running shoes"]) == [["sofa"]]  # the phrase, not "shoes"
    assert Synonyms(shop, path).rewrite(["frost box"], n=2) == [["refrigerator"] * 2]


def test_a_missing_dictionary_is_refused_with_a_remedy(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synonyms, "DEFAULT_PATHS", (tmp_path / "nowhere",))
    with pytest.raises(ConfigError, match="wordnet-base"):
        Synonyms(shop)
    with pytest.raises(ConfigError, match="no such file"):
        Synonyms(shop, tmp_path / "no.tsv")
    (tmp_path / "words.tsv").write_text("no tab here\n")
    (tmp_path / "words.doc").write_text("x")
    for bad in ("words.tsv", "words.doc"):
        with pytest.raises(ConfigError, match=bad):
            Synonyms(shop, tmp_path / bad)
    monkeypatch.setattr(synonyms, "DEFAULT_PATHS", (written(tmp_path, ".dat"),))
    assert Synonyms(shop).rewrite(["couch"]) == [["sofa"]]
