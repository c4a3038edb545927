"""Make training pairs from a shop's query log: what a student is fine-tuned on before online learning.

    qr pairs generated --out out/pairs.parquet --sources log graph engine --tasks rewrite quality title thought tagging
    qr pairs icecat --data ../shared/data --sources log engine --agent log rm3 --json out/pairs.json
    qr pairs my_shop/ --sources graph rewrites.csv teacher:prompted:http://127.0.0.1:8000/v1

Sources: log (words of purchased products, the best rewarded candidate a query), graph (other queries for the same
products, MiniELM), engine (candidates of --agent that pass BEQUE's thresholds), a file of rewrites, or teacher:AGENT,
any agent of `qr evaluate`. For a shop without purchases, queries are generated from its catalogue first (source
"log:catalogue"). The table shows what every filter dropped. Columns of the file: `agents/examples/tasks.py`. Only
queries of the train split are used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.examples.engine_pairs import EngineConfig
from agents.examples.graph_pairs import GraphConfig
from qr_env.reward.reward import Weights
from runs.common.judge_server import JudgeServerArgs
from runs.common.reading import ReadArgs

Task = Literal["rewrite", "quality", "title", "thought", "tagging"]


@dataclass
class PairConfig(JudgeServerArgs):
    """Which pairs are made, and by what search engine and judge."""

    sources: tuple[str, ...] = ("log", "graph", "engine")
    """log, graph, engine, teacher:AGENT, or files of rewrites (tables with columns query, rewrite)"""
    tasks: tuple[Task, ...] = ("rewrite",)
    """rewrite, and auxiliary tasks: quality (is it a good rewrite?), title (of a purchased product), thought (reason,
    then rewrite), tagging (do two texts mean the same?)"""
    agent: tuple[str, ...] = ("log",)
    """agents that write the candidates of `engine` and `quality`: log, or agents of `qr evaluate`"""
    candidates: int = 4
    """rewrites requested from each agent for a query; the log gives all it has"""
    queries: int = 1_500
    """train queries for log, engine and teachers, the most frequent first; 0 takes all"""
    edges: Literal["auto", "labels", "purchases"] = "auto"
    """edges between queries and products in the graph; auto takes labels if a train query that a shopper
    typed has any, else purchases"""
    confirm: str = "engine"
    """filter of rewrites from graph, files and teachers: engine (reward above --engine.min-reward), llm:LM (a model's
    name, a folder or a server's URL: does it mean the same?), or none"""
    combine: Literal["expand", "replace", "union"] = "expand"
    """how a rewrite is combined with the original query; in expand it is the words to add, else a whole query"""
    weight: float = 1.0
    """weight of the original's words in "expand"; the rewrite's is 1"""
    retriever: Literal["bm25", "dense", "hybrid", "splade"] = "bm25"
    """search engine"""
    judge: str = "auto"
    """judge: labels, blend[:1,3], embedding, coverage, llm, cross-encoder[:MODEL], replay, ensemble:A,B,
    pessimistic:A,B; auto takes labels if the shop has the grade of every pair (generated), else blend"""
    held_out: float = 0.1
    """share of the queries whose examples are held out for evaluation"""
    seed: int = 0
    """seed of every random draw"""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """Thresholds of the query graph."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """Thresholds of the search engine's approval."""
    reward: Weights = field(default_factory=Weights)
    """Weights of the reward's terms (qr_env/reward/reward.py)."""


@dataclass
class Args(PairConfig, ReadArgs):
    """Flags of `qr pairs`: the pairs, the shop, and the output."""

    shop: Annotated[str, tyro.conf.arg(name="shop"), tyro.conf.Positional] = "generated"
    """generated, icecat, esci, wands, or a folder of your own files"""
    out: Path = Path("out/pairs.parquet")
    """the Parquet file to write"""
    samples: int = 10
    """number of examples to print"""
    json: str | None = None
    """write all counts and the samples here as JSON ("-": standard output)"""
