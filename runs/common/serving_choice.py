"""`serve.json` of a run: which rewriter a shop should serve, and the figures that say so.

    choice = read_serving_choice(Path("out/mine"))
    agent = make_agent(choice.agent_spec, AgentOptions(shop, retriever, choice.combine, choice.original_weight))

`qr online` writes it at its end (`runs/online/verdict.py`); verbs that serve read it. Paths of agents are relative to
the run folder in the file, so that the folder can be moved, and joined with it when read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from qr_env.common.atomic_io import atomic_write, saving
from qr_env.common.errors import IndexMismatchError, RunFolderError
from qr_env.evaluation.result import plain_json

SERVE_FILE = "serve.json"
IDENTITY = "identity"
AGAIN = "and write it again by `qr online SHOP --out FOLDER --resume`"


@dataclass(frozen=True)
class CandidateFigures:
    """One rewriter on the held-out queries, compared with the original queries. None: undefined."""

    name: str
    """column of the evaluation table"""
    agent_spec: str
    """name for `agents.factory.make_agent`"""
    mean: float | None
    """of the headline figure"""
    difference: float | None
    """mean − mean of the original queries"""
    low: float | None
    """lower end of the difference's 95 % interval (paired bootstrap)"""
    high: float | None
    """upper end"""
    better: float | None
    """share of queries whose headline figure rises, in [0, 1]"""
    worse: float | None
    """share of queries whose headline figure falls, in [0, 1]"""
    kept: float | None
    """share of queries that are left as they are, in [0, 1]"""
    made_with: str = ""
    """what the rewriter was built from, where that depends on the machine, such as a second engine"""


@dataclass(frozen=True)
class PairedComparison:
    """Two rewriters on the same held-out queries."""

    name: str
    """the less simple of the two"""
    baseline: str
    """the simpler of the two"""
    difference: float | None
    """mean of `name` − mean of `baseline`"""
    low: float | None
    """lower end of its 95 % interval (paired bootstrap)"""
    high: float | None
    """upper end"""
    p_value: float
    """two-sided p-value of the paired randomisation test, adjusted by Holm for all comparisons of this grading"""


@dataclass(frozen=True)
class Grading:
    """All candidates, graded by one source."""

    by: str
    """"labels" or "judge NAME\""""
    metric: str
    """the headline figure, "nDCG@10" or "judge nDCG@10\""""
    split: str
    """split of the queries"""
    queries: int
    """different held-out queries that a shopper typed, with a figure for every candidate"""
    worse_by: float
    """a query counts as better or worse where the headline figure changes by more than this"""
    serve: str
    """the candidate that this source says to serve"""
    candidates: list[CandidateFigures]
    """from the simplest to the least simple"""
    comparisons: list[PairedComparison]
    """every pair of candidates"""


@dataclass(frozen=True)
class ServingChoice:
    """The rewriter to serve, why, and how it was searched."""

    serve: str
    """name of the candidate"""
    agent_spec: str
    """name for `agents.factory.make_agent`"""
    reason: str
    """one sentence for people"""
    combine: str
    """how a rewrite meets its original: "expand", "replace" or "union\""""
    original_weight: float
    """weight of the original's words in "expand\""""
    retriever: str
    """the search engine, as `qr_env.retrieval.factory.make_retriever` names it"""
    judge: str
    """who graded while the student learned"""
    shop_hash: str
    """`Shop.hash` of products and query log"""
    products_hash: str
    """`Shop.products_hash`"""
    max_worse: float
    """largest share of queries that the served rewriter may make worse"""
    alpha: float
    """a difference is proven where its adjusted p-value is at most this"""
    gradings: list[Grading]
    """by each source of grades, the deciding one first; [] where no held-out query could be compared"""


ADAPTER = TypeAdapter(ServingChoice)


def write_serving_choice(folder: Path, choice: ServingChoice) -> Path:
    """Write `serve.json` into the run folder, atomically."""
    path = folder / SERVE_FILE
    text = json.dumps(plain_json(asdict(choice)), indent=1, ensure_ascii=False, allow_nan=False)
    with saving(path):
        atomic_write(path, text + "\n")
    return path


def read_serving_choice(folder: Path, products_hash: str | None = None) -> ServingChoice:
    """Read a run's `serve.json`, its agents' paths joined with the folder.

    Args:
        folder: the run folder, or the file itself.
        products_hash: `Shop.products_hash` of the shop to be served; None checks no shop.

    Raises:
        RunFolderError: there is no such file, or it is damaged.
        IndexMismatchError: the run was of a shop with other products.
    """
    path = folder / SERVE_FILE if folder.is_dir() else folder
    if not path.is_file():
        raise RunFolderError(
            f"{path}: no such file; `qr online` writes it when a run ends; a stopped one is ended by "
            "`qr online SHOP --out FOLDER --resume`"
        )
    try:
        choice = ADAPTER.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise RunFolderError(f"{path}: {place}: {first['msg']}; remove it, {AGAIN}") from error
    if choice.gradings and choice.serve not in (candidate.name for candidate in choice.gradings[0].candidates):
        raise RunFolderError(f"{path}: serves {choice.serve!r}, which is no candidate; remove it, {AGAIN}")
    if products_hash is not None and choice.products_hash != products_hash:
        raise IndexMismatchError(
            f"{path} is of products {choice.products_hash[:12]}, the shop has {products_hash[:12]}: run `qr online` on "
            "this shop"
        )
    return _joined(choice, path.parent)


def _joined(choice: ServingChoice, folder: Path) -> ServingChoice:
    gradings = [
        replace(
            grading, candidates=[replace(c, agent_spec=joined_spec(c.agent_spec, folder)) for c in grading.candidates]
        )
        for grading in choice.gradings
    ]
    return replace(choice, agent_spec=joined_spec(choice.agent_spec, folder), gradings=gradings)


def joined_spec(spec: str, folder: Path) -> str:
    """An agent's name with its path, relative to `folder` in the file, joined with the folder.

    "suggest:suggest.json" → "suggest:FOLDER/suggest.json", "checkpoints/best" → "FOLDER/checkpoints/best"; a bare name
    stays as it is.
    """
    name, colon, path = spec.rpartition(":")
    return f"{name}{colon}{folder / path}" if colon or "/" in path else spec
