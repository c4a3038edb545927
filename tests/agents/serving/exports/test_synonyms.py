"""Solr synonyms, read back by a real Lucene's parser, reserved characters included."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agents.serving.exports import factory
from agents.serving.exports.base import SearchMode
from agents.serving.exports.factory import write_export
from agents.serving.exports.synonyms import SolrSynonyms
from agents.serving.rewritten import rewritten
from runs.bench.lucene_index import jar_folder, missing

ROWS = [
    rewritten("navy couch", "sofa^0.4"),
    rewritten("a,b", "c,d"),
    rewritten("a=>b", "x=>y"),
    rewritten("# hash", "#tag"),
    rewritten("back\\slash", "c:\\new"),
    rewritten("نعم 🛋", "أريكة"),
    rewritten("kept query", ""),
]


@pytest.mark.live
@pytest.mark.skipif(missing() is not None, reason=missing() or "")
def test_lucene_reads_every_rule_as_it_was_meant(tmp_path: Path) -> None:
    written = write_export("synonyms", ROWS, tmp_path / "synonyms.txt")
    path = os.pathsep.join([str(tmp_path), *(str(jar) for jar in sorted(jar_folder().glob("lucene-*.jar")))])
    source = str(Path(__file__).with_name("SolrSynonyms.java"))
    subprocess.run(["javac", "-cp", path, "-d", str(tmp_path), source], check=True, capture_output=True)
    done = subprocess.run(
        ["java", "-XX:+UseSerialGC", "-cp", path, "SolrSynonyms", str(written.files[0])],
        input="".join(row.query + "\n" for row in ROWS), capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    found = [set(line.split("\t")) - {""} for line in done.stdout.splitlines()]
    wanted = [{*row.query.split(), *(word.word for word in row.words)} for row in ROWS]
    assert found == wanted


def test_a_full_set_goes_on_in_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "MOST_SYNONYMS", 2)
    written = write_export("synonyms", [rewritten(f"query {n}", "word") for n in range(5)], tmp_path / "s.txt")
    assert [path.name for path in written.files] == ["s.txt", "s-2.txt", "s-3.txt"]
    assert [len(path.read_text().splitlines()) for path in written.files] == [2, 2, 1]


def test_a_replaced_query_is_not_searched_and_a_row_that_adds_nothing_is_counted() -> None:
    replacing, adding = SolrSynonyms(SearchMode("replace")), SolrSynonyms()
    assert replacing.row(rewritten("navy couch", "blue sofa")) == "navy couch => blue sofa\n"
    assert adding.row(rewritten("navy couch", "couch^3")) == ""
    assert sum(adding.left_out.reasons.values()) == 1
