"""A real Lucene reads the exported synonyms and query strings; skipped where Java or Lucene's jars are missing."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from agents.serving.exports.base import SearchMode
from agents.serving.exports.factory import write_export
from agents.serving.rewritten import rewritten
from runs.bench.lucene_index import JARS, jar_folder, missing
from tests.helpers.structure import ROOT

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "")
QUERIES = ["navy couch", 'pipe 12"', "a,b cable", "c#", "x=>y plug", "back\\slash lamp", "café au lait", "tv & hi-fi"]
ADDED = ["sofa", "tube", "comma,word", "csharp", "arrow=>word", "light", "kaffee", "stereo"]


@pytest.fixture(scope="module")
def synonyms(tmp_path_factory) -> dict[str, list[str]]:
    """Query → the terms that Lucene makes of it by the exported synonyms."""
    folder = tmp_path_factory.mktemp("synonyms")
    rows = [rewritten(query, f"{word}^0.5") for query, word in zip(QUERIES, ADDED, strict=True)]
    exported = write_export("synonyms", rows, folder / "synonyms.txt", SearchMode("expand"))
    assert exported.rows == len(rows)
    (folder / "queries.txt").write_text("\n".join(QUERIES) + "\n", encoding="utf-8")
    jars = [str(sorted(jar_folder().glob(f"{pattern}.jar"))[-1]) for pattern in JARS]
    source = ROOT / "tests" / "helpers" / "Synonyms.java"
    java = [shutil.which("java") or "java", "-Dfile.encoding=UTF-8", "-cp", ":".join(jars)]
    command = [*java, str(source), str(folder / "synonyms.txt"), str(folder / "queries.txt"), str(folder / "terms.txt")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    lines = (folder / "terms.txt").read_text(encoding="utf-8").splitlines()
    return {query: line.split("\t") for query, line in zip(QUERIES, lines, strict=True)}


@pytest.mark.parametrize(("query", "word"), list(zip(QUERIES, ADDED, strict=True)))
def test_lucene_finds_the_query_and_the_added_word(synonyms, query: str, word: str) -> None:
    assert sorted(synonyms[query]) == sorted([*query.split(), word])
