"""The rewriter that a serving verb uses (`qr rewrite`, `qr table`, `qr serve`, `qr ope`), opened from its flags.

    opened = open_rewriter(args)                    # args: RewriterArgs
    opened.agent.rewrite(["navy couch"]), opened.combine, opened.weight, opened.retriever, opened.shop

It is named as in `--agent` (agents/factory.py), or by a run folder of `qr online`, whose `serve.json` names the
rewriter, the engine, and how rewrites are searched; shop and language are then those of the run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from agents.checks import check_agent
from agents.factory import AgentOptions, checkpoint_folder, make_agent, reads_query_log
from agents.policy.saved_settings import saved_settings
from qr_env.common.atomic_io import current_version
from qr_env.common.download import cache_root
from qr_env.common.errors import ConfigError
from qr_env.common.hashing import sha256_files, sha256_text
from qr_env.common.protocols import Agent, Retriever
from qr_env.retrieval.combine import ORIGINAL_WEIGHT, check
from qr_env.retrieval.factory import default_encoder, make_retriever
from qr_env.shop.load import load_shop
from qr_env.shop.shop import Shop
from runs.common.checks import about
from runs.common.folder import CONFIG_FILE
from runs.common.query_log import with_query_log
from runs.common.serving.args import RewriterArgs
from runs.common.serving_choice import SERVE_FILE, read_serving_choice

DEFAULT_SHOP, DEFAULT_RETRIEVER = "generated", "bm25"


@dataclass(frozen=True)
class RewriterPlan:
    """What is to be opened, with every default resolved; nothing is loaded yet."""

    spec: str
    """name for `agents.factory.make_agent`"""
    shop: str
    """name or path of the shop"""
    retriever: str
    """name for `make_retriever`"""
    combine: str
    """how a rewrite meets its query"""
    weight: float
    """of the original's words in "expand\""""
    language: str
    """of the shop; "" is told from its texts"""
    data: str | None
    """folder of a named shop's files"""
    trained_by: str = ""
    """judge that the run was trained with; "" where unknown"""


@dataclass(frozen=True)
class OpenRewriter:
    """A rewriter, ready to be called, and what its rewrites are for."""

    agent: Agent
    """The rewriter."""
    plan: RewriterPlan
    """What it was opened from."""
    version: str
    """Name and content hash: changes where the same name would give other rewrites."""
    shop: Shop
    """The shop."""
    retriever: Retriever
    """The engine."""
    options: AgentOptions
    """What further rewriters for the same shop and engine are made from."""

    @property
    def combine(self) -> str:
        """How a rewrite meets its query."""
        return self.plan.combine

    @property
    def weight(self) -> float:
        """Weight of the original's words in "expand"."""
        return self.plan.weight


def plan_rewriter(agent: str, args: RewriterArgs) -> RewriterPlan:
    """Resolve the flags, without loading anything.

    Raises:
        QrError: the rewriter is unknown or damaged, or a setting is invalid.
    """
    name = Path(agent)
    is_checkpoint = checkpoint_folder(agent) is not None  # it has a config.json of its own, the model's
    is_run = not is_checkpoint and ((name / CONFIG_FILE).is_file() or SERVE_FILE in (name.name, *_names(name)))
    choice = read_serving_choice(name) if is_run else None
    spec = choice.agent_spec if choice else agent
    run = _run_settings(spec if choice is None else str(name))
    trained = _saved_settings(spec)
    with about("agent", agent):
        check_agent(spec, args.read_options())
    plan = RewriterPlan(
        spec=spec,
        shop=args.shop or run.get("shop") or DEFAULT_SHOP,
        retriever=args.retriever or (choice.retriever if choice else "") or run.get("retriever") or DEFAULT_RETRIEVER,
        combine=args.combine or (choice.combine if choice else "") or trained.get("combine") or "expand",
        weight=args.weight or (choice.original_weight if choice else None) or trained.get("weight") or ORIGINAL_WEIGHT,
        language=args.language or (run.get("language") or "" if not args.shop else ""),
        data=args.data or (run.get("data") if not args.shop else None),
        trained_by=(choice.judge if choice else "") or run.get("judge") or "",
    )
    check(plan.combine, plan.weight)
    return plan


def open_rewriter(agent: str, args: RewriterArgs, shop: Shop | None = None, keep_queries: bool = True) -> OpenRewriter:
    """Load shop, engine and rewriter.

    shop: the shop of these flags, where it is loaded already.
    keep_queries: whether the suggestions for each query are stored in the cache folder, under its text. A service keeps
    none: what shoppers type may hold personal data, and a disk has no place on the path of a request.
    """
    plan = plan_rewriter(agent, args)
    cache = Path(args.cache).expanduser() if args.cache else cache_root()
    if shop is None:
        shop = load_shop(plan.shop, plan.data, options=replace(args.read_options(), language=plan.language))
    encoder = partial(default_encoder, args.encoder)
    retriever = make_retriever(plan.retriever, shop, cache)
    log_shop = with_query_log(shop) if reads_query_log(plan.spec) else shop
    stored = cache if keep_queries else None
    options = AgentOptions(
        log_shop, retriever, plan.combine, plan.weight, encoder=encoder, store=stored, cache_dir=cache,
        keep_queries=keep_queries, reading=args.read_options(),
    )  # fmt: skip
    return OpenRewriter(make_agent(plan.spec, options), plan, version_of(plan.spec, shop), shop, retriever, options)


def version_of(spec: str, shop: Shop) -> str:
    """Name and hash of what decides the rewrites: the checkpoint's or the settings file's content, and the shop's."""
    folder = checkpoint_folder(spec)
    argument = Path(spec.partition(":")[2])
    if folder is not None:
        folder = current_version(folder)
        content = sha256_files(folder, sorted(path for path in folder.iterdir() if path.is_file()))
    elif argument.is_file():
        content = sha256_files(argument.parent, [argument])
    else:
        content = ""
    return f"{spec}@{sha256_text(' '.join((spec, content, shop.hash)), 12)}"


def _saved_settings(spec: str) -> dict[str, Any]:
    folder = checkpoint_folder(spec)
    if folder is None:
        return {}
    return saved_settings(folder)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _run_settings(path: str) -> dict[str, Any]:
    """Settings of the run that the folder, or a checkpoint in it, belongs to; {} where there is none."""
    place = Path(path.rpartition(":")[2]).resolve()
    above = place.parents if checkpoint_folder(path) is not None else (place, *place.parents)
    config = next((file for parent in above if (file := parent / CONFIG_FILE).is_file()), None)
    if config is None:
        return {}
    try:
        return dict(json.loads(config.read_text(encoding="utf-8"))["args"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{config} is damaged ({error}): name --shop and a checkpoint folder instead") from error
