"""Measure speed as ratios to what a user would run instead; and the correctness of search and promotion.

qr bench retrieval --json bench.json                   # search, against bm25s and FAISS called directly
qr bench env --shop icecat --data ../shared/data       # the vector environment, against its engine and a scalar loop
qr bench judge --json bench_judge.json                 # label probabilities, against JSON replies, on one vLLM server
qr bench online --student tiny smollm2-135m            # one update, against TRL's GRPOTrainer and a roofline
qr bench pairs                                         # the query graph of a large shop
qr bench churn                                         # every hit while products change, against brute force
qr bench lucene --agent identity spell                 # rewriters on a real Lucene, beside the embedded BM25
qr bench serve out/mine                                # the HTTP service: hits, misses, memory
qr bench ope                                           # do off-policy intervals cover the truth?
qr bench experiment                                    # A/B tests of equal, better and worse candidates
qr bench table                                         # the file of a table, against LMDB
qr bench promotion                                     # how often a candidate that is no better is promoted
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.examples.graph_pairs import GraphConfig
from runs.common.judge_server import JudgeServerArgs
from runs.common.reading import ReadArgs
from runs.common.serving.args import RewriterArgs


@dataclass
class ShopArgs(ReadArgs):
    """Settings that the measures on a shop share."""

    shop: Annotated[str, tyro.conf.arg(aliases=["--source"])] = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


@dataclass
class RetrievalArgs(ShopArgs):
    """Search against bm25s and FAISS called directly: same queries, one process, timed in turns.

    qr bench retrieval
    qr bench retrieval --shop icecat --data ../shared/data --json -

    Ratios of the report (ours / theirs, at most 1.3 is the aim):

    bm25                     texts in, hits out; bm25s as its manual calls it: tokenize with the stemmer, then retrieve
    bm25, theirs tokenized   the same, but bm25s is given its tokens: its tokenizing is not counted, ours is
    bm25 one by one          the same as the first, one call a query
    dense                    query vectors known; FAISS is given the matrix, ours has texts, ties and padding to handle
    dense with embedding     texts in, hits out, without a cache; sentence-transformers' encode, then FAISS
    """

    encoder: str = "minilm-l6"
    """text encoder: minilm-l6, a Hugging Face id or a folder; "" leaves out the ratio that needs it"""
    queries: int = 4000
    """queries in a batch: the shop's own, then words of its titles"""
    k: int = 50
    """hits a query"""
    rounds: int = 7
    """timed turns; the median counts"""
    threads: int = 0
    """threads of both sides; 0 takes OMP_NUM_THREADS, else every core"""


@dataclass
class EnvArgs(ShopArgs):
    """The vector environment against its retriever's own time, and against a loop over the scalar environment.

    qr bench env --json bench_env.json
    qr bench env --retriever bm25 --rounds 15

    `vector / engine` is to be at most 2.0 and `loop / vector` at least 3; runs/bench/env.py describes what is timed.
    """

    retriever: tuple[Literal["bm25", "dense", "hybrid"], ...] = ("bm25", "hybrid")
    """retrievers of the environment, one after the other"""
    encoder: str = "minilm-l6"
    """text encoder: minilm-l6, a Hugging Face id or a folder; "" leaves out the retrievers that need it"""
    rounds: int = 7
    """timed turns; the median counts"""


@dataclass
class JudgeBenchArgs(ShopArgs):
    """The LLM judge's label probabilities against JSON replies, on one live vLLM server.

    make vllm && qr bench judge --json bench_judge.json      # starts a server, and stops it
    qr bench judge --url http://127.0.0.1:8000/v1            # on a server that runs

    runs/bench/judge.py describes the contenders and the figures.
    """

    url: str | None = None
    """base URL of a server that runs; default: start vLLM with `model`, and stop it"""
    model: str = "smollm2-135m"
    """model of the server that is started"""
    pairs: int = 640
    """(query, product) pairs a round, in lists of 20: 640 are 32 requests at once, as many as the others make"""
    rounds: int = 3
    """rounds, 3 at most: a quarter of an hour each on two CPU cores"""


@dataclass
class OnlineArgs(ShopArgs):
    """One learning update against TRL's GRPOTrainer, and against a roofline of the machine.

    qr bench online
    qr bench online --student tiny smollm2-135m --rounds 5 --json bench_online.json

    runs/bench/online.py describes what both sides share.
    """

    student: tuple[str, ...] = ("tiny",)
    """students: tiny, smollm2-135m, any causal LM, or a saved student's folder"""
    rounds: int = 7
    """timed updates; the median counts"""


@dataclass
class ChurnArgs(ShopArgs):
    """Compare every result list of a running environment with a brute-force search, while products are replaced.

    qr bench churn --results 1000000 --json churn.json
    qr online generated --drift churn --set traffic.check_hits=true  # the same while a student learns

    The vector environment runs on the shop's traffic while a tenth of the assortment is replaced in eight steps,
    spread over the run. The rewrites resemble those of a learner: the oracle's, another query, a typo variant, the
    query itself. What counts as an error: qr_env/environment/brute_force_check.py. With an error the exit code is 1.
    """

    results: int = 1_000_000
    """hits to check"""
    share: float = 0.1
    """share of the products that is replaced"""
    prompts: int = 64
    """queries a step"""
    group_size: int = 8
    """rewrites a query"""
    seed: int = 0
    """seed of the environment, the drift and the rewrites"""


@dataclass
class PromotionArgs:
    """Simulate promotion: hundreds of candidates (no better, worse, better), each until it is promoted or dropped.

    qr bench promotion                      # generated pairs, with the ties and the spread of a student's
    qr bench promotion --run out/drift      # pairs of a run's learning and frozen policy

    With --run, pairs are drawn from outcomes.jsonl of a run with --drift: learning − frozen is the better candidate,
    frozen − learning the worse one, and the difference with a random sign is no better and no worse.
    """

    run: Path | None = None
    """folder of a run with --drift, from whose pairs are drawn"""
    trials: int = 200
    """candidates of each kind"""
    effect: float = 0.02
    """generated pairs: gain by which better candidates are better, and worse ones worse"""
    seed: int = 0
    """seed of the draws"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


@dataclass
class ExperimentArgs:
    """Simulate A/B tests on live traffic: candidates that sell as much, 10 % more and 10 % less, until decided.

    qr bench experiment                     # 1,000 tests of each kind: how often is which promoted, after how long?
    """

    runs: int = 1_000
    """tests of each kind"""
    conversion: float = 0.25
    """share of sessions of the baseline that buy"""
    max_sessions: int = 80_000
    """sessions after which an undecided candidate is rolled back"""
    seed: int = 0
    """seed of the draws"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


@dataclass
class OpeBenchArgs(ReadArgs):
    """Coverage of the intervals of off-policy evaluation, on logs of a simulated shop whose truth is known.

    qr bench ope                            # 200 logs of each size, four policies, three estimators
    """

    shop: str = "generated"
    """generated, or another shop of which every grade is known"""
    logs: int = 200
    """logs of each size"""
    sizes: tuple[int, ...] = (2_000, 10_000)
    """searches of a log"""
    queries: int = 300
    """queries of the shop's test split"""
    epsilon: float = 0.4
    """share of the answers that are drawn evenly"""
    clip: float = 50.0
    """largest weight"""
    seed: int = 0
    """of queries and logs"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


@dataclass
class PairsArgs:
    """Time the query graph at the size of a large shop: 100,000 queries with 2 million labels.

    qr bench pairs
    qr bench pairs --queries 10_000 --labels 200_000 --json out/bench_pairs.json

    Queries are 2 to 4 generated words; labels are drawn for products by Zipf's law, so that the most popular products
    connect thousands of queries, which is what the cap on a product's queries is for.
    """

    queries: int = 100_000
    """train queries"""
    labels: int = 2_000_000
    """Exact and Substitute labels"""
    products: int = 500_000
    """products"""
    zipf: float = 0.8
    """exponent of the products' popularity"""
    seed: int = 0
    """seed of the generated shop"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """which two queries make a pair"""


@dataclass
class LuceneArgs(JudgeServerArgs, ShopArgs):
    """Evaluate rewriters on a real Lucene, beside the embedded BM25 that they were built on.

    make lucene && qr bench lucene --shop my_folder --agent identity spell
    qr bench lucene --shop icecat --data ../shared/data --fields title:1 --run-out out/lucene

    Lucene indexes with its English analyzer and its BM25 and reads the rewrites as query strings with boosts,
    "paint^3 gun^3 sprayer^0.4". Milliseconds a query are Lucene's own, for parsing and searching.
    """

    agent: tuple[str, ...] = ("identity", "spell")
    """rewriters by name or checkpoint folders, as in qr evaluate"""
    split: Literal["train", "dev", "test"] = "test"
    """split of the queries"""
    combine: Literal["replace", "expand", "union"] | None = None
    """how a rewrite is combined with the original query; None: as the checkpoints were trained, else expand"""
    weight: float | None = None
    """weight of the original's words in "expand", the rewrite's is 1; None: the checkpoints' own, else 1"""
    judge: str = "labels"
    """source of the grades, as in qr evaluate"""
    fields: tuple[str, ...] = ()
    """columns that Lucene indexes, NAME or NAME:COUNT (how often its words count); default: those of our BM25"""
    limit: int | None = None
    """maximum number of queries, drawn by the seed"""
    seed: int = 0
    """seed of the bootstrap and of --limit"""
    encoder: str = "minilm-l6"
    """sentence encoder of agents and judges that use one"""
    run_out: Path | None = None
    """folder for the result lists of every engine and agent, TREC run files ENGINE-AGENT.trec"""


@dataclass
class ReadBenchArgs:
    """Read a products file with invalid rows of twelve kinds, every one of which must be reported.

    qr bench read
    qr bench read --against ../old --rounds 5        # after git worktree add ../old 8ff7f88

    `ratio` is ours / theirs, read in turns, each time in a new process; at most 1.3 is the aim.
    """

    rows: int = 1_000_000
    """rows of the file"""
    dirty: float = 0.01
    """share of invalid rows"""
    against: Path | None = None
    """checkout of commit 8ff7f88, whose reader reads the same file in turns"""
    rounds: int = 3
    """timed turns; the median counts"""
    folder: Path | None = None
    """where the file is written for the time of the measurement; default: the system's temporary folder"""
    seed: int = 0
    """seed of the file"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


@dataclass
class ServeBenchArgs(RewriterArgs):
    """Measure `qr serve` over HTTP on loopback: hits, misses, memory, and `generate` behind the same server.

    qr bench serve out/mine --table rewrites.db
    qr bench serve out/mine --requests 1_000_000       # memory over a million requests

    Hits are asked for by wrk where it is installed, in a closed loop; misses arrive at random (Poisson), each a query
    that was never asked before, and are timed from when they should have been sent.
    """

    agent: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="AGENT")]
    """run folder, checkpoint, or name of a rewriter"""
    table: str = ""
    """table of qr table build; without one, hits are remembered rewrites"""
    seconds: float = 10.0
    """of the load of hits, and of that of misses"""
    connections: int = 8
    """of the load of hits"""
    rate: float = 50.0
    """misses a second"""
    heads: int = 1000
    """queries that the hits are drawn from"""
    deadline_ms: float = 1000.0
    """of the measured service: long, so that the time of a miss is seen and not cut"""
    requests: int = 0
    """requests over which the memory is watched; 0 leaves it out"""
    generate: bool = True
    """whether the same misses are sent to the same service with transformers' generate"""
    seed: int = 0
    """of the arrivals"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


@dataclass
class TableBenchArgs:
    """Measure a table's file against LMDB with the same entries: building, size, opening, look-ups cold and warm.

    qr bench table
    qr bench table --entries 1_000_000 --readers 8

    A look-up's 99th percentile is to be at most 1 ms in process. Needs the package lmdb.
    """

    entries: tuple[int, ...] = (100_000, 1_000_000)
    """sizes of the tables"""
    lookups: int = 20_000
    """random queries that are looked up, each time"""
    readers: int = 4
    """processes that look up at once"""
    folder: Path | None = None
    """where the files are written for the time of the measurement; default: the system's temporary folder"""
    json: str | None = None
    """write the report to this JSON file, "-" for standard output"""


# part → (settings, module with main(args), help)
PARTS: dict[str, tuple[type, str, str]] = {
    "retrieval": (RetrievalArgs, "runs.bench.retrieval", "search, against bm25s and FAISS called directly"),
    "env": (EnvArgs, "runs.bench.env", "the vector environment, against its engine and a loop over the scalar one"),
    "judge": (JudgeBenchArgs, "runs.bench.judge", "label probabilities against JSON replies, on one vLLM server"),
    "read": (ReadBenchArgs, "runs.bench.read", "reading a large file with invalid rows, against an earlier commit"),
    "online": (OnlineArgs, "runs.bench.online", "one learning update, against TRL's GRPOTrainer and a roofline"),
    "pairs": (PairsArgs, "runs.bench.pairs", "time of the query graph at the size of a large shop"),
    "churn": (ChurnArgs, "runs.bench.churn", "errors in the hits while products change, against brute force"),
    "lucene": (LuceneArgs, "runs.bench.lucene", "rewriters on a real Lucene, beside the embedded BM25"),
    "serve": (ServeBenchArgs, "runs.bench.serving.job", "qr serve over HTTP: hits, misses, memory, and generate"),
    "table": (TableBenchArgs, "runs.bench.serving.table", "the file of a table against LMDB: look-ups, size, building"),
    "experiment": (
        ExperimentArgs,
        "runs.bench.serving.experiment",
        "how often an A/B test promotes an equal, a better, a worse candidate",
    ),
    "ope": (OpeBenchArgs, "runs.bench.serving.ope", "coverage of off-policy evaluation's intervals on known truth"),
    "promotion": (PromotionArgs, "runs.bench.promotion", "how often candidates that are no better are promoted"),
}
