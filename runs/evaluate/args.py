"""Evaluate query rewriters on held-out queries against the original query: nDCG@10, R@100, MRR, search metrics, by
slice, with 95 % intervals.

    qr evaluate --shop generated --retriever bm25 --agent spell rm3 oracle out/quickstart/checkpoints/best
    qr evaluate --shop my_folder --judge embedding --agent spell repair suggest --json report.json
    qr evaluate --agent rm3 few-shot:smollm2-135m best-of-8:out/quickstart/checkpoints/best --retriever bm25 dense
    qr evaluate --shop icecat --run-in other_system.trec
    qr evaluate --shop my_folder --agent spell --weight 3 --lucene-out topics.tsv

"ms/query" is the wall time of the rewriting alone, searches of best-of and cle-qr included. Texts that a language model
generated in an earlier run are read from the store ("generated/query" is the share that was not in the store).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runs.common.judge_server import JudgeServerArgs
from runs.common.reading import ReadArgs

DEFAULT_ENCODER = "minilm-l6"


@dataclass
class Args(JudgeServerArgs, ReadArgs):
    """Agents, queries, grades and outputs of an evaluation."""

    shop: str = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    retriever: tuple[str, ...] = ("bm25",)
    """search engines, bm25[:SETTINGS], dense, hybrid or splade; one table for each. SETTINGS: such as
    fields=title*5+description,k1=1.2,b=0.6, or a file of `qr shop SHOP --check-engine --engine-out FILE.json`"""
    agent: tuple[str, ...] = ("identity",)
    """checkpoint folders, or identity, spell, repair, suggest[:FILE] (FILE: settings of qr suggest),
    suggest-with:SOURCES (titles:splade+type+log+teacher:LM or some of them), rm3, oracle, synonyms[:FILE], cle-qr,
    prompted:LM, few-shot:LM, query2doc:LM (LM: a model's name, a folder, or a server's URL), best-of-N:AGENT; one
    column for each"""
    split: Literal["train", "dev", "test"] = "test"
    """split of the queries"""
    combine: Literal["replace", "expand", "union"] | None = None
    """how a rewrite is combined with the original query; None: as the checkpoints were trained, else expand"""
    weight: float | None = None
    """weight of the original's words in "expand", the rewrite's is 1; None: the checkpoints' own, else 1"""
    judge: str = "labels"
    """source of the grades: labels, or a judge: blend[:1,3], embedding, coverage, llm, cross-encoder[:MODEL], replay,
    ensemble:A,B, pessimistic:A,B"""
    select_judge: str = "embedding"
    """judge that selects in best-of-N, names as in --judge; if it is the judge that reports, the result is a ceiling"""
    store: Path | None = None
    """folder of the verdict store and the text store (default: no verdict store, texts in --cache)"""
    k: int = 100
    """length of the result lists"""
    limit: int | None = None
    """maximum number of queries, drawn by the seed"""
    seed: int = 0
    """seed of the bootstrap and of --limit; the generated shop is always that of seed 0"""
    encoder: str = DEFAULT_ENCODER
    """sentence encoder of dense, hybrid and the embedding judge"""
    cache: str | None = None
    """folder that keeps indexes and vectors between runs (default: $QR_CACHE, else ~/.cache/qr-env)"""
    json: str | None = None
    """write the metrics here as JSON ("-": standard output)"""
    per_query: bool = False
    """include every query's rewrites and metrics in --json"""
    run_out: str | None = None
    """write the result lists of the last agent here as a TREC run file"""
    lucene_out: str | None = None
    """write the last agent's rewrites here as query strings for Solr, Elasticsearch or OpenSearch, "paint^3 gun^3
    sprayer^0.4": a line a query, its id, a tab, the string"""
    run_in: str | None = None
    """also evaluate this TREC run file"""
