"""Synonyms: the four dictionary formats, which words are added, and a missing dictionary."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from agents.baselines import synonym_files
from agents.baselines.synonym_files import read_dictionary
from agents.baselines.synonyms import Synonyms
from qr_env.common.errors import BadRowError, ConfigError, DataError
from qr_env.shop.readers.load_report import LoadReport
from qr_env.shop.readers.options import ReadOptions
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
        for name in synonym_files.WORDNET_FILES:
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
    entries = read_dictionary(written(tmp_path, ".dat"), LoadReport())
    assert entries == [("couch", ["sofa", "lounge"]), ("trainers", ["running shoes"])]


RULES = """# our shop's synonyms
couch, settee => sofa

i-pod,i pod=>ipod
red\\, white, tricolore
alone
"""
WANTED = [("couch", ["sofa"]), ("settee", ["sofa"]), ("i-pod", ["ipod"]), ("i pod", ["ipod"])]
WANTED += [("red, white", ["tricolore"]), ("tricolore", ["red, white"])]


def test_rules_of_solr(tmp_path: Path) -> None:
    (tmp_path / "synonyms.txt").write_text(RULES)
    report = LoadReport()
    assert read_dictionary(tmp_path / "synonyms.txt", report) == WANTED
    assert report.notes == ["synonyms.txt: lines without a comma or =>, which name no synonym: 1 (line 6)"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("packed.txt.gz", gzip.compress(RULES.encode())),
        ("windows.csv", ("\ufeff" + RULES.replace("\n", "\r\n")).encode()),
        ("elastic.json", json.dumps({"synonyms_set": [
            {"id": f"r{n}", "synonyms": line} for n, line in enumerate(RULES.splitlines()[1:-1]) if line
        ]}).encode()),
    ],
)  # fmt: skip
def test_rules_of_solr_in_other_files(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert read_dictionary(tmp_path / name, LoadReport()) == WANTED


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("table.csv", "Word;Synonyms\ncouch;sofa|lounge\n"),
        ("table.tsv", "term\tsynonym\ncouch\tsofa, lounge\n"),
        (
            "algolia.json",
            '[{"type": "oneWaySynonym", "input": "couch", "synonyms": ["sofa", "lounge"]}]',
        ),
        ("columns.txt", "couch\tsofa\tlounge\n"),
    ],
)
def test_tables_of_synonyms(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_dictionary(tmp_path / name, LoadReport()) == [("couch", ["sofa", "lounge"])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a => b => c", "more than one =>"),
        ("=> b", "nothing before =>"),
        ("a =>", "nothing behind => .*Querqy"),
        ("a,,b", "an empty word between commas"),
        ("a, => b", "an empty word between commas"),
        ("a\t", "a tab without a word"),
        ("caf\udce9, coffee", "not UTF-8"),
    ],
)
def test_a_line_that_is_no_rule_is_named_and_skipped_on_request(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_bytes(f"couch, sofa\n{line}\nx\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(BadRowError, match=rf"synonyms\.txt:2: {reason}"):
        read_dictionary(path, LoadReport())
    report = LoadReport(ReadOptions(on_bad_row="skip"))
    assert read_dictionary(path, report) == [("couch", ["sofa"]), ("sofa", ["couch"])]
    assert [bad.line for bad in report.bad_rows] == [2] and (report.rows, report.kept) == (
        {str(path): 3},
        {str(path): 2},
    )


def test_another_encoding_is_read_where_it_is_named(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes("café => sofa\n".encode("cp1252"))
    agent = Synonyms(shop, tmp_path / "s.txt", options=ReadOptions(encoding="cp1252"))
    assert agent.rewrite(["café"]) == [["sofa"]]


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
    monkeypatch.setattr(synonym_files, "DEFAULT_PATHS", (tmp_path / "nowhere",))
    with pytest.raises(ConfigError, match="wordnet-base"):
        Synonyms(shop)
    with pytest.raises(ConfigError, match="no such file"):
        Synonyms(shop, tmp_path / "no.tsv")
    (tmp_path / "words.txt").write_text("no tab here\n")
    with pytest.raises(DataError, match=r"words\.txt: no synonyms in this file"):
        Synonyms(shop, tmp_path / "words.txt")
    (tmp_path / "words.doc").write_text("x")
    with pytest.raises(DataError, match=r"words\.doc: unknown format"):
        Synonyms(shop, tmp_path / "words.doc")
    (tmp_path / "words.dat").write_text("UTF-8\nno bar\n")
    with pytest.raises(ConfigError, match=r"words\.dat cannot be read as mythes"):
        Synonyms(shop, tmp_path / "words.dat")
