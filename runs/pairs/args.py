"""Training pairs from a shop's past: what a student learns from before it meets the query stream.

    qr pairs generated --out out/pairs.parquet --sources log graph engine --tasks rewrite quality title thought tagging
    qr pairs icecat --data ../shared/data --sources log engine --agent log rm3 --json out/pairs.json
    qr pairs my_shop/ --sources graph rewrites.csv teacher:prompted:http://127.0.0.1:8000/v1

Sources: log (words of what was bought, the best paid candidate a query), graph (other queries for the same products,
MiniELM), engine (candidates of --agent that pass BEQUE's thresholds), a file of rewrites, or teacher:AGENT, any agent
of `qr evaluate`. A shop without purchases gets queries made from its catalogue first (source "log:catalogue"). The
table shows what every filter dropped. Columns of the file: `agents/examples/tasks.py`. Only the train split teaches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.examples.engine_pairs import EngineConfig
from agents.examples.graph_pairs import GraphConfig
from qr_env.reward.reward import Weights

Task = Literal["rewrite", "quality", "title", "thought", "tagging"]


@dataclass
class Args:
    """Which pairs, from what, and where they go."""

    shop: Annotated[str, tyro.conf.arg(name="shop"), tyro.conf.Positional] = "generated"
    """generated, icecat, esci, wands, or a folder of your own files"""
    out: Path = Path("out/pairs.parquet")
    """the Parquet file to write"""
    data: str | None = None
    """folder with the data of icecat, esci or wands (default: $QR_DATA, else download)"""
    sources: tuple[str, ...] = ("log", "graph", "engine")
    """log, graph, engine, teacher:AGENT, or files of rewrites (.parquet, .csv, .jsonl with columns query, rewrite)"""
    tasks: tuple[Task, ...] = ("rewrite",)
    """what is taught: rewrite, and beside it quality (is it a good rewrite?), title (of what was bought), thought (why,
    then the rewrite), tagging (do two texts mean the same?)"""
    agent: tuple[str, ...] = ("log",)
    """who writes the candidates of `engine` and `quality`: log, or agents of `qr evaluate`"""
    candidates: int = 4
    """rewrites that each agent is asked for; the log gives as many as it has"""
    queries: int = 1_500
    """train queries that log, engine and teachers are asked about, the most frequent first; 0 takes all"""
    edges: Literal["auto", "labels", "purchases"] = "auto"
    """what joins query and product in the graph; auto takes labels where the train split has any"""
    confirm: str = "engine"
    """who confirms rewrites of graph, files and teachers: engine (reward above --engine.min-reward), llm:LM (a model's
    name, a folder or a server's URL: does it mean the same?), or none"""
    combine: Literal["expand", "replace", "union"] = "expand"
    """how a rewrite meets its original: in expand it is the words to add, else the whole query"""
    weight: float = 1.0
    """weight of the original's words in "expand"; the rewrite's is 1"""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """the engine that searches"""
    judge: str = "auto"
    """who grades: labels, embedding, llm, cross-encoder[:MODEL], replay, ensemble:A,B; auto takes labels where the shop
    knows its whole truth (generated), else embedding"""
    judge_url: tuple[str, ...] = ()
    """llm: base URLs of its servers (default: $QR_JUDGE_URL)"""
    store: Path | None = None
    """folder of the stores of verdicts and of generated texts; what is there is not asked again"""
    held_out: float = 0.1
    """share of the queries whose examples only measure"""
    samples: int = 10
    """rows to show"""
    seed: int = 0
    """of every draw"""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """what to do with a dirty row of the shop's files"""
    json: str | None = None
    """write all counts and the samples here as JSON ("-": standard output)"""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """Queries for the same products."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """What the engine must approve of."""
    reward: Weights = field(default_factory=Weights)
    """Weights of the reward's terms (qr_env/reward/reward.py)."""
