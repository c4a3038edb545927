"""Score rewriters on held-out queries against leaving them alone: nDCG@10, R@100, MRR, feedback, by slice, with 95 %
intervals.

    qr evaluate --shop generated --retriever bm25 --agent spell rm3 oracle out/quickstart/checkpoints/best
    qr evaluate --shop my_folder --judge embedding --agent spell --json report.json
    qr evaluate --agent spell rm3 cle-qr few-shot:smollm2-135m best-of-8:out/quickstart/checkpoints/best \
                --retriever bm25 dense hybrid
    qr evaluate --shop icecat --run-in other_system.trec

"ms/query" is the wall time of the rewriting alone, searches of best-of and cle-qr included; texts that a language model
wrote before are taken from the store ("generated/query" is the share that was not in the store).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass
class Args:
    """What to score, on what, and where the figures go."""

    shop: str = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    data: str | None = None
    """folder with the data of icecat, esci or wands (default: $QR_DATA, else download)"""
    retriever: tuple[Literal["bm25", "dense", "hybrid"], ...] = ("bm25",)
    """how products are found; several give several tables"""
    agent: tuple[str, ...] = ("identity",)
    """checkpoint folders, or identity, spell, rm3, oracle, synonyms[:FILE], cle-qr, prompted:LM, few-shot:LM,
    query2doc:LM (LM: a model's name, a folder, or a server's URL), best-of-N:AGENT; several give several columns"""
    split: Literal["train", "dev", "test"] = "test"
    """which queries"""
    combine: Literal["replace", "expand", "union"] | None = None
    """how a rewrite meets its original; None: as the checkpoints were trained, else expand"""
    weight: float | None = None
    """weight of the original's words in "expand", the rewrite's is 1; None: the checkpoints' own, else 1"""
    judge: str = "labels"
    """who grades: labels, or a judge's opinion: embedding, llm, cross-encoder[:MODEL], replay, ensemble:A,B"""
    judge_url: tuple[str, ...] = ()
    """llm: base URLs of its servers (default: $QR_JUDGE_URL)"""
    select_judge: str = "embedding"
    """who selects in best-of-N, as --judge; not the one that reports, or it is a ceiling"""
    store: Path | None = None
    """folder of the stores of verdicts and of generated texts, kept and replayed from (default: texts in --cache)"""
    k: int = 100
    """length of the result lists"""
    limit: int | None = None
    """at most this many queries, drawn by the seed"""
    seed: int = 0
    """of the bootstrap and the draw of --limit; the generated shop is always the one of seed 0"""
    encoder: str = "minilm-l6"
    """sentence encoder of dense, hybrid and the embedding judge"""
    cache: str | None = None
    """folder that keeps indexes and vectors between runs (default: $QR_CACHE, else ~/.cache/qr-env)"""
    json: str | None = None
    """write the figures here as JSON ("-": standard output)"""
    per_query: bool = False
    """with --json: the rewrites and figures of every query too"""
    run_out: str | None = None
    """write the result lists of the last agent here as a TREC run file"""
    run_in: str | None = None
    """score this TREC run file, beside the agents given"""
