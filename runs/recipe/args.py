"""Run a published system stage by stage, and compare its variants on held-out queries.

    qr recipe beque                                   # runs/recipes/beque.yaml on the generated shop
    qr recipe minielm --seeds 0 1 2 --out out/minielm # three seeds: intervals, and spread between seeds
    qr recipe jd --shop icecat --data ../shared/data  # any shop
    qr recipe my.yaml --profile gpu                   # the paper's sizes, for a GPU
    qr recipe beque --resume                          # continue with the stages that are not done

Recipes: minielm (arXiv 2501.18056), beque (2311.03758), jd (2603.02555), walmart (2505.07105); offline: everything that
can be learned from the query log, then the query stream; judge_quality: how good a judge must be before reinforcement
learning pays (42 runs of 300 updates with --seeds 0 1 2); circle: serve, log, learn, promote, for three days. A recipe
lists its stages (`runs/recipe/spec.py`), the students to compare, and the paper's claims about them. Every stage has a
folder in OUT/seed-N and runs once. At the end come a table, the paper's claims with this run's results, and
OUT/report.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from runs.common.reading import ReadArgs


@dataclass
class Args(ReadArgs):
    """The recipe, the shop and the seeds."""

    recipe: Annotated[str, tyro.conf.Positional]
    """minielm, beque, jd, walmart, offline, judge_quality, circle, or a YAML file of your own"""
    shop: str = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    out: Path | None = None
    """folder of the run; default out/RECIPE"""
    seeds: tuple[int, ...] = (0,)
    """every stage runs once with each"""
    profile: str = "cpu"
    """cpu, or a profile of the recipe: gpu has the paper's sizes"""
    retriever: Literal["bm25", "dense", "hybrid", "splade"] | None = None
    """search engine; default the recipe's"""
    judge: str | None = None
    """judge; default the recipe's"""
    limit: int | None = None
    """maximum number of test queries for the comparison"""
    resume: bool = False
    """continue with the stages that are not done"""
    json: str | None = None
    """also write the comparison here ("-": standard output)"""
