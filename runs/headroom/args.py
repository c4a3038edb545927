"""What the suggested words can gain in a shop at most, before a language model is trained to choose among them.

    qr headroom my_shop --labels my_graded_queries --json out/headroom.json
    qr headroom my_shop --labels my_graded_queries --judge blend embedding coverage --seeds 0 1 2

Rows of the table, each compared with `suggest` on the graded queries of --labels by a paired bootstrap:

    repair, suggest          the rewriters that train nothing
    policy by JUDGE          a policy of some hundred parameters that weighs the same words, trained by GRPO on the
                             log's queries, rewarded by the judge (agents/policy/word_policy.py); one a judge and seed
    chosen by JUDGE          for each query the variant of `suggest` that the judge grades best: no learning
    selector by labels       the variant that a model fitted on the labels of other queries expects to be best, among
                             those that it expects to gain --threshold: a ceiling of what features can tell
    chosen by labels         the variant that is best by the query's own labels: the ceiling of these words

Where the selector that has read labels is no better than `suggest`, neither a better judge nor another policy over
these features will be: it takes other words, or a model that understands them. Where it is better and "policy by
JUDGE" is not, the judge is the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from runs.common.judge_server import JudgeServerArgs
from runs.common.reading import ReadArgs


@dataclass
class Args(JudgeServerArgs, ReadArgs):
    """Shop, graded queries, judges and learning."""

    shop: Annotated[str, tyro.conf.arg(name="shop"), tyro.conf.Positional] = "generated"
    """shop whose log is learned from: generated, icecat, esci, wands, or a folder of your own"""
    labels: str | None = None
    """shop with the graded queries, of the same products; default: the test queries of SHOP"""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """search engine"""
    judge: tuple[str, ...] = ("blend",)
    """judges that pay the policy and choose variants: names of `qr online --judge`"""
    seeds: tuple[int, ...] = (0,)
    """seeds of the policies"""
    steps: int = 120
    """updates of a policy, of 256 queries × 8 rewrites"""
    change: float = 0.01
    """what every changed query costs a policy (reward.change)"""
    threshold: float = 0.02
    """gain of nDCG@10 (judged products only, where grades are incomplete) that the selector by labels must expect of a
    variant before it takes it"""
    limit: int | None = None
    """maximum number of graded queries"""
    out: str | None = None
    """folder for the trained policies, by judge and seed: `--agent words:FOLDER/blend-0`"""
    json: str | None = None
    """write all figures here as JSON ("-": standard output)"""
