"""Serve, calibrate, probe and distill relevance judges; manage the verdict store; check a simulated shopper.

qr judge serve smollm2-135m                    # start a vLLM server on loopback
qr judge calibrate --shop icecat --judge llm   # measure how far its verdicts agree with human grades
qr judge probe --judge embedding               # measure how easily it is fooled
qr judge distill --shop generated              # train a fast judge from a slow one
qr judge store --stats                         # show the verdicts that are stored already
qr judge shopper --shop generated              # compare a simulated shopper with real purchases
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from judges.factory import TIMEOUT, JudgeOptions
from judges.llm.prompt import GRADE
from runs.common.reading import ReadArgs
from runs.judge.distill.args import DistillArgs


@dataclass
class ServeArgs:
    """Start a vLLM server with a model on this machine, wait until it is healthy, stop it with Ctrl-C.

    make vllm                                      # once: installs vLLM into an environment of its own
    qr judge serve smollm2-135m
    qr judge serve Qwen/Qwen2.5-7B-Instruct --port 8000 --flags "--tensor-parallel-size 2"
    """

    model: tyro.conf.Positional[str] = "smollm2-135m"
    """smollm2-135m, any Hugging Face id of a causal LM, or a local folder"""
    name: str | None = None
    """the model's name for clients; default: the model as given, or the last part of a folder's path"""
    port: int = 0
    """port on 127.0.0.1; 0 takes a free one"""
    wait: float = 600.0
    """seconds until the server must be healthy"""
    max_model_len: int = 2048
    """tokens of prompt and answer together"""
    log: Path | None = None
    """file of the server's output; default: in the cache folder, named by the port"""
    flags: str = ""
    """further flags of vLLM, as one text"""


@dataclass
class JudgeArgs(ReadArgs):
    """Settings that calibrate, probe and shopper share."""

    shop: str = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    url: tuple[str, ...] = ()
    """base URLs of the language model's servers (default: $QR_JUDGE_URL)"""
    model: str | None = None
    """name of the model at the server (default: $QR_JUDGE_MODEL, else the only one)"""
    prompt: str = GRADE
    """prompt of the llm judge: name of a file of judges/llm/prompts/, or a path"""
    timeout: float = TIMEOUT
    """seconds that a server has for an answer"""
    store: Path | None = None
    """folder of the verdict store (default: none; every verdict is computed again)"""
    json: str | None = None
    """write the figures to this file as JSON ("-": to standard output, without a table)"""
    seed: int = 0
    """seed of every random draw and of the bootstrap"""

    def options(self) -> JudgeOptions:
        """Options of `judges.factory.open_judge`."""
        return JudgeOptions(self.url, self.model, self.store, prompt=self.prompt, timeout=self.timeout)


@dataclass
class CalibrateArgs(JudgeArgs):
    """Compare judges with human grades: agreement, calibration, biases, speed; with intervals, and a page with plots.

    qr judge calibrate --shop generated --judge labels,embedding
    qr judge calibrate --shop icecat --data ../shared/data --judge embedding --sanitize --json -
    qr judge calibrate --shop icecat --judge llm --url http://127.0.0.1:8000/v1 --min-kappa 0.2

    All judges grade the same pairs. On the generated shop, whose true grades are known, these are products that a
    search finds and random products; on other shops they are the pairs that people graded. The page and
    judges/validation/calibrate.py explain every figure. With --store, figures of speed include answers from the store.
    """

    judge: tuple[str, ...] = ("embedding",)
    """judges by name, as several values or separated by commas; ensemble:a,b is one judge"""
    split: Literal["auto", "train", "dev", "test"] = "auto"
    """split of the queries whose labels are used; auto takes dev where it has labels, else test"""
    labels: Path | None = None
    """graded pairs of your own in place of the shop's labels: a table with query, product_id and grade; all are used"""
    pairs: int = 2_000
    """graded pairs at most, drawn with the seed"""
    k: int = 10
    """generated shop: products found, and random products, for each query"""
    retriever: Literal["bm25", "dense", "hybrid", "splade"] = "bm25"
    """generated shop: the engine that finds them"""
    sanitize: bool = False
    """also evaluate each judge on texts cleaned by judges/validation/sanitize.py, to see what cleaning costs"""
    min_kappa: float = 0.0
    """also show which judges a gate with this minimum κ would refuse"""
    page: Path | None = None
    """file of the page (default: out/judges/calibrate-SHOP.html)"""


@dataclass
class ProbeArgs(JudgeArgs):
    """Measure exploit rates: how often a text written to please a judge gets a better grade than the unmodified text.

    qr judge probe --judge labels,embedding                         # planted products and planted rewrites
    qr judge probe --shop icecat --data ../shared/data --judge embedding --no-rewrites
    qr judge probe --judge llm --url http://127.0.0.1:8000/v1 -n 100 --json -

    All judges grade the same probes, with texts as they are and cleaned by judges/validation/sanitize.py. The kinds of
    probes, and what counts as an exploit, are described in judges/validation/probes.py.
    """

    judge: tuple[str, ...] = ("embedding",)
    """judges by name, as several values or separated by commas; ensemble:a,b is one judge"""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 200
    """queries, each with one probe of every kind"""
    split: Literal["train", "dev", "test"] = "train"
    """split of the queries; a shop without queries in it uses all"""
    rewrites: bool = True
    """planted rewrites too, through BM25 and the reward"""


@dataclass
class StoreArgs:
    """Show, merge, prune or export the verdict store; several of them run in this order: merge, prune, export, stats.

    qr judge store --stats                                      # size, verdicts and hit rate of each judge, integrity
    qr judge store --export verdicts.parquet                    # or .jsonl: verdicts with the texts that were judged
    qr judge store --merge gpu-box.sqlite old/verdicts.sqlite   # the first of two verdicts on a pair is kept
    qr judge store --prune --unused 90 --dry-run                # criteria: --fingerprint, --older-than, --unused
    """

    store: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """folder of the store, or its file; default $QR_CACHE/verdicts, else ~/.cache/qr-env/verdicts"""
    stats: bool = False
    """show size, judges and hit rates, and check the file; also the default when nothing else is asked for"""
    merge: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE…")] = ()
    """add the verdicts of these stores; on a conflict, which is counted, the verdict of --store is kept"""
    prune: bool = False
    """delete the verdicts that match all given ones of --fingerprint, --older-than and --unused"""
    fingerprint: str | None = None
    """prune or export only the verdicts of this judge"""
    older_than: Annotated[float | None, tyro.conf.arg(metavar="DAYS")] = None
    """prune verdicts that are older than this"""
    unused: Annotated[float | None, tyro.conf.arg(metavar="DAYS")] = None
    """prune verdicts that no run has looked up for this long"""
    dry_run: bool = False
    """only count what --prune would delete"""
    export: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write all verdicts with their texts to FILE.parquet or FILE.jsonl"""
    json: str | None = None
    """write the report as JSON to this file, "-" for standard output"""


@dataclass
class ShopperArgs(JudgeArgs):
    """Compare a simulated shopper with real purchases, and with real clicks where there is a log.

    qr judge shopper --shop generated --json report.json          # against the shop's own purchases
    qr judge shopper --shop my_folder --log clicks.csv            # clicks too: perplexity and rates by rank
    qr judge shopper --shopper llm --url http://127.0.0.1:8000/v1 --limit 50

    Purchases: whether the products bought for a query are preferred among its list (AUC within the list), and choice
    perplexity, the number of equally likely products with the same uncertainty; "chance" is that of a uniform guess.
    Rows with "preference" ignore the position of a product; the click models include it. Intervals: 95 %, bootstrap
    over queries.
    """

    shopper: Literal["model", "llm"] = "model"
    """model: computed from grades, prices and brands. llm: played by a language model"""
    log: Path | None = None
    """click log, a table (judges/shoppers/click_log.py); its lists replace the retriever's"""
    judge: str = "labels"
    """judge whose grades the model shopper reads"""
    retriever: Literal["bm25", "dense", "hybrid", "splade"] = "bm25"
    """engine that makes the lists"""
    split: Literal["train", "dev", "test"] = "test"
    """split of the queries, without --log"""
    k: int = 20
    """products a list"""
    limit: int | None = None
    """at most this many queries, drawn with the seed"""
    fit: int = 4_000
    """training queries on whose purchases the model shopper's price and brand preferences are fitted; 0: not fitted"""
    biases: bool = False
    """add RewardRank's other biases: runs of a brand or color, irrelevant products near the top"""
    profiles: bool = False
    """all profiles of judges/shoppers/model.py instead of the average one (--shopper llm: one visit each)"""


# part → (settings, module with main(args), help)
PARTS: dict[str, tuple[type, str, str]] = {
    "serve": (ServeArgs, "runs.judge.serve", "start a vLLM server with a model, wait until it is healthy, stop it"),
    "calibrate": (
        CalibrateArgs,
        "runs.judge.calibrate",
        "agreement with human labels, calibration, biases, throughput; a page with plots",
    ),
    "probe": (ProbeArgs, "runs.judge.probe", "exploit rate: how often a planted text gets a better grade"),
    "distill": (
        DistillArgs,
        "runs.judge.distill.job",
        "train the cross-encoder judge from a teacher's verdicts (Walmart's recipe)",
    ),
    "store": (StoreArgs, "runs.judge.store", "the verdict store: --stats, --export, --merge, --prune"),
    "shopper": (ShopperArgs, "runs.judge.shopper", "how well a simulated shopper matches clicks and purchases"),
}
