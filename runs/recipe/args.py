"""Run a published system, stage by stage, and compare its variants on held-out queries.

    qr recipe beque                                   # runs/recipes/beque.yaml on the generated shop
    qr recipe minielm --seeds 0 1 2 --out out/minielm # three seeds: spread beside the intervals
    qr recipe jd --shop icecat --data ../shared/data  # any shop
    qr recipe my.yaml --profile gpu                   # the paper's sizes, where a graphics card is
    qr recipe beque --resume                          # go on with the stages that are not done

Recipes: minielm (arXiv 2501.18056), beque (2311.03758), jd (2603.02555), walmart (2505.07105); past, all that a log can
teach and then the stream. A recipe names its stages (`runs/recipe/stages.py`), the students to compare, and what the
paper claims of them. Every stage has a folder in OUT/seed-N and is done once; at the end stand a table, the paper's
claims beside ours, and OUT/report.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Args:
    """Which recipe, on which shop, how often."""

    recipe: Annotated[str, tyro.conf.Positional]
    """minielm, beque, jd, walmart, past, or a YAML file of your own"""
    shop: str = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    data: str | None = None
    """folder with the data of icecat, esci or wands (default: $QR_DATA, else download)"""
    out: Path | None = None
    """folder of the run; default out/RECIPE"""
    seeds: tuple[int, ...] = (0,)
    """every stage is run once with each"""
    profile: str = "cpu"
    """cpu, or another that the recipe has: gpu for the paper's sizes"""
    retriever: Literal["bm25", "dense", "hybrid"] | None = None
    """another engine than the recipe's"""
    judge: str | None = None
    """another judge than the recipe's"""
    limit: int | None = None
    """compare on so many test queries only"""
    resume: bool = False
    """go on with the stages that are not done"""
    json: str | None = None
    """write the comparison here as well ("-": standard output)"""
