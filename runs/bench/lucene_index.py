"""A real Lucene as a search engine: a Java process a batch, through runs/bench/Lucene.java.

    with tempfile.TemporaryDirectory() as folder:
        lucene = LuceneIndex.build(shop, Path(folder) / "index", [("title", 5), ("brand", 1)])
        lucene.search(["paint gun", (("paint gun", 3.0), ("sprayer", 0.4))], k=100).rows_NK      # (2, 100)

`make lucene` installs what it needs: a JDK of version 11 or newer, and Lucene's jars in $QR_LUCENE, else in
/usr/share/java, where Debian's liblucene8-java puts them. Weighted texts are searched as query strings
(`qr_env.query_text.lucene`), as a client of Solr or Elasticsearch would send them.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.errors import ConfigError
from qr_env.common.types import Hits, SearchText
from qr_env.query_text.lucene import lucene_string
from qr_env.retrieval.base import check_k
from qr_env.retrieval.bm25 import BM25Settings
from qr_env.retrieval.combine import empty
from qr_env.shop.shop import Shop

INDEX, CLASSES = "index", "classes"  # folders inside an index's folder
SOURCE = Path(__file__).with_name("Lucene.java")
# Lucene 9 renamed analyzers-common to analysis-common.
JARS = ("lucene-core-*", "lucene-anal*-common-*", "lucene-queryparser-*", "lucene-queries-*", "lucene-sandbox-*")
INSTALL = "`make lucene` installs them on Debian; elsewhere name the folder of Lucene's jars in $QR_LUCENE"
TAIL = 2_000  # characters of Java's messages in an error
_MILLISECONDS = re.compile(r"^milliseconds ([\d.E-]+)$", re.MULTILINE)


class LuceneIndex:
    """Implements `qr_env.common.protocols.Retriever`. Use `build`."""

    name = "lucene"

    def __init__(self, folder: Path) -> None:
        """folder: one that `build` or `save` wrote."""
        self.folder = folder
        self.searched = 0
        """Queries searched so far."""
        self.milliseconds = 0.0
        """Time that Lucene took to parse and search them."""

    @classmethod
    def build(cls, shop: Shop, folder: Path, fields: Sequence[tuple[str, int]]) -> LuceneIndex:
        """Index a shop's products in a new folder.

        fields: (column, how often its words count), as in `BM25Settings`; all go into one field of Lucene's.

        Raises:
            ConfigError: Java or a jar is missing, or no such column.
        """
        lines = documents(shop, BM25Settings(fields=tuple(fields)).fields)
        compile_java(folder)
        run_java(folder, ["index", str(folder / INDEX)], lines)
        return cls(folder)

    def search(self, queries: Sequence[SearchText], k: int) -> Hits:
        """The k best products of each query; see `Retriever.search`. Ties go to the lower row."""
        check_k(k)
        hits = empty(len(queries), k)
        if not queries:
            return hits
        out, log = run_java(self.folder, ["search", str(self.folder / INDEX), str(k)], map(lucene_string, queries))
        for n, line in enumerate(out.splitlines()):
            pairs = [pair.split(":") for pair in line.split()]
            hits.rows_NK[n, : len(pairs)] = [int(row) for row, _ in pairs]
            hits.scores_NK[n, : len(pairs)] = [float(score) for _, score in pairs]
        self.searched += len(queries)
        self.milliseconds += float(_MILLISECONDS.findall(log)[0])
        return hits

    @property
    def ms_per_query(self) -> float:
        """Milliseconds that Lucene took for a query, without Java's start; NaN before the first search."""
        return self.milliseconds / self.searched if self.searched else math.nan

    def save(self, folder: Path) -> None:
        """Copy the index and the compiled program, atomically."""
        with atomic_cache_folder(folder) as scratch:
            shutil.copytree(self.folder, scratch, dirs_exist_ok=True)


def documents(shop: Shop, fields: Iterable[tuple[str, int]]) -> list[str]:
    """The text of every product on one line: the words of its fields, each field as often as it counts."""
    columns = [[" ".join(text.split()) for text in shop.products[name].to_pylist()] for name, _ in fields]
    counts = [count for _, count in fields]
    return [
        " ".join(text for text, count in zip(texts, counts, strict=True) for _ in range(count) if text)
        for texts in zip(*columns, strict=True)
    ]


def missing() -> str | None:
    """What of a JDK and Lucene's jars this machine lacks, and the way out; None if nothing."""
    programs = [name for name in ("java", "javac") if shutil.which(name) is None]
    absent = programs + [f"{pattern}.jar" for pattern in JARS if not _found(pattern)]
    return f"Lucene needs {', '.join(absent)} (jars in {jar_folder()}): {INSTALL}" if absent else None


def jar_folder() -> Path:
    """The folder of Lucene's jars."""
    return Path(os.environ.get("QR_LUCENE") or "/usr/share/java")


def version() -> str:
    """Lucene's version, by the name of its jar."""
    return _found(JARS[0])[-1].stem.removeprefix("lucene-core-")


def _found(pattern: str) -> list[Path]:
    return sorted(jar_folder().glob(f"{pattern}.jar"))


def run_java(folder: Path, arguments: Sequence[str], lines: Iterable[str]) -> tuple[str, str]:
    """Run the program that was compiled into `folder` with `lines` as its input: (standard output, standard error)."""
    jars = [str(_found(pattern)[-1]) for pattern in JARS]
    path = os.pathsep.join([str(folder / CLASSES), *jars])
    return _run(["java", "-XX:+UseSerialGC", "-cp", path, "Lucene", *arguments], "".join(f"{line}\n" for line in lines))


def compile_java(folder: Path) -> None:
    """Compile Lucene.java into `folder`. Raises ConfigError if Java or a jar is missing, or does not fit."""
    if reason := missing():
        raise ConfigError(reason)
    jars = os.pathsep.join(str(_found(pattern)[-1]) for pattern in JARS)
    _run(["javac", "-cp", jars, "-d", str(folder / CLASSES), str(SOURCE)])


def _run(command: Sequence[str], text: str = "") -> tuple[str, str]:
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        told = done.stderr[-TAIL:]
        raise ConfigError(f"{command[0]} failed, exit code {done.returncode}; do JDK and Lucene's jars match?\n{told}")
    return done.stdout, done.stderr
