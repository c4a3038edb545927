"""Opening what the service answers from, at its start and at every reload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePath

from agents.serving.experiment.assignment import BASELINE, CANDIDATE
from agents.serving.exploration import Explorer
from agents.serving.rewritten import Rewritten
from agents.serving.rules import Rules
from agents.serving.service.parts import Chooser, Loaded, RewriteMany
from agents.serving.table.entry import RewriteTable
from agents.serving.table.opening import is_redis, open_table
from qr_env.common.errors import IndexMismatchError
from runs.common.serving.args import RewriterArgs
from runs.common.serving.rewriter import OpenRewriter, open_rewriter, plan_rewriter, version_of
from runs.common.serving.rows import rewritten_batch
from runs.serve.args import Args

OpenOne = Callable[[str, RewriterArgs], OpenRewriter]


def open_live(agent: str, args: RewriterArgs) -> OpenRewriter:
    """A rewriter that stores nothing of what it is asked."""
    return open_rewriter(agent, args, keep_queries=False)


class Opening:
    """Opens versions; rewriters whose files did not change are taken over."""

    def __init__(self, args: Args, open_one: OpenOne = open_live) -> None:
        self._args, self._open_one = args, open_one
        self._opened: dict[str, OpenRewriter] = {}
        self._rewriters: dict[str, RewriteMany] = {}

    def open(self, before: Loaded | None) -> Loaded:
        """Table, rules and rewriters as they are on disk now; `before` stays as it is."""
        baseline = self._rewriter(BASELINE, self._args.agent, before)
        rewriters = {BASELINE: self._rewriters[BASELINE]}
        if self._args.candidate:
            candidate = self._rewriter(CANDIDATE, self._args.candidate, before)
            if (candidate.combine, candidate.weight) != (baseline.combine, baseline.weight):
                raise IndexMismatchError(
                    f"candidate={self._args.candidate!r} is searched by {candidate.combine} {candidate.weight:g}, "
                    f"{self._args.agent!r} by {baseline.combine} {baseline.weight:g}: name combine and weight"
                )
            rewriters[CANDIDATE] = self._rewriters[CANDIDATE]
        queries = baseline.shop.queries["query"]
        table = opened_table(self._args.table, baseline) if self._args.table else None
        return Loaded(
            public_version(baseline.version),
            rewriters,
            baseline.shop,
            baseline.retriever,
            baseline.combine,
            baseline.weight,
            table=table,
            table_is_remote=is_redis(self._args.table),
            choosers=self._choosers(list(rewriters)),
            rules=Rules.read(self._args.rules) if self._args.rules is not None else None,
            trial_query=queries[0].as_py() if len(queries) else "blue sofa",
        )

    def _choosers(self, variants: list[str]) -> dict[str, Chooser]:
        explore, most = self._args.explore, self._args.candidates
        return {one: Explorer(self._opened[one].agent, explore, most) for one in variants} if explore else {}

    def _rewriter(self, variant: str, agent: str, before: Loaded | None) -> OpenRewriter:
        known = self._opened.get(variant)
        if before is not None and known is not None:
            plan = plan_rewriter(agent, self._args)
            if version_of(plan.spec, known.shop) == known.version:
                return known
        opened = self._open_one(agent, self._args)
        self._opened[variant] = opened
        self._rewriters[variant] = partial(rewritten_rows, opened)
        return opened


def opened_table(place: str, opened: OpenRewriter) -> RewriteTable:
    """The table; IndexMismatchError where its rewrites were judged for another way to search or other products."""
    table = open_table(place)
    now = {
        "combine": opened.combine, "weight": opened.weight, "retriever": opened.plan.retriever,
        "products_hash": opened.shop.products_hash,
    }  # fmt: skip
    for name, value in now.items():
        if table.facts.plan.get(name, value) != value:
            table.close()
            raise IndexMismatchError(
                f"table={place!r} was built for {name}={table.facts.plan[name]!r}, and {value!r} is served: build it "
                "again with qr table build, or name the rewriter, shop and engine that it was built for"
            )
    return table


def rewritten_rows(opened: OpenRewriter, queries: Sequence[str]) -> list[Rewritten]:
    """The rewrites of a batch."""
    return rewritten_batch(opened, queries)


def public_version(version: str) -> str:
    """A version as clients see it: without the folders that a path in it names.

    public_version("best-of-8:/srv/out/mine/best@1f2e") is "best-of-8:best@1f2e".
    """
    spec, _, content = version.rpartition("@")
    kind, colon, path = spec.rpartition(":")
    return f"{kind}{colon}{PurePath(path).name}@{content}"
