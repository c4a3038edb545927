"""`qr dashboard`: the W&B workspace and report; settings: `runs/dashboard/args.py`.

wandb and wandb_workspaces are optional, so they are imported where the pages are built: a dry run needs neither.
"""

from __future__ import annotations

import os
from typing import Any

from qr_env.common.errors import ConfigError
from qr_env.common.packages import require
from runs.common.output import write_json
from runs.dashboard.args import Args

# Section → (its text in the report, its charts: (title, metrics over updates)).
CURVES: dict[str, tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "Held-out queries": (
        "The student's greedy rewrites on dev queries, by human labels or the generated shop's true grades.",
        (
            ("nDCG@10", ("eval/nDCG@10", "eval/identity/nDCG@10", "eval/oracle/nDCG@10")),
            ("Headroom closed", ("eval/headroom",)),
            ("Better and worse", ("eval/better", "eval/worse")),
            ("Originals kept", ("eval/kept",)),
            ("Words", ("eval/words ratio",)),
        ),
    ),
    "Judge and labels": (
        "A training judge whose figure rises while the labels' does not is being exploited.",
        (
            ("nDCG@10 by source of the grades", ("eval/judge nDCG@10", "eval/nDCG@10")),
            ("Exploit rate of planted products", ("judge/exploit_rate",)),
            ("Rewards without a verdict", ("judge/failed_fraction",)),
        ),
    ),
    "Learning": (
        "Statistics of the rewrites sampled in each update.",
        (
            ("Reward", ("reward", "reward_std")),
            ("Reward, term by term", ("reward/gain", "reward/worse", "reward/gate", "reward/length", "reward/copy")),
            ("Originals kept", ("keep_fraction",)),
            ("Length", ("completions/mean_length",)),
            ("KL to the warm start", ("kl",)),
            ("Entropy", ("entropy",)),
            ("Groups without a gradient", ("groups/zero_variance",)),
            ("Clipped", ("clip_ratio",)),
            ("Loss", ("loss", "anchor_loss")),
            ("Gradient norm", ("grad_norm",)),
        ),
    ),
    "Promotion": (
        "Gain of the rewrites served, and the evidence for each candidate.",
        (
            ("Gain served", ("serve/gain",)),
            ("Candidate minus serving", ("serve/difference",)),
            ("Evidence, log e", ("serve/log_e",)),
            ("Canary's share of the traffic", ("serve/canary",)),
        ),
    ),
}
# Section → (its text in the report, names of its tables).
TABLES = {
    "Rewrites": ("Sampled rewrites, the products they found, and the judge's verdicts.", ("samples",)),
    "Decisions": ("Every decision about a candidate, with its evidence.", ("promotion/decisions",)),
    "At the end": ("Final evaluation of all agents on held-out queries, by slice.", ("evaluation by slice",)),
}
NAME = "qr-env: query rewriting"
WAY_OUT = "; `qr dashboard --dry-run --json FILE` shows what would be built"
JsonDict = dict[str, Any]


def main(args: Args) -> None:
    """Write the specification where asked, and build the pages unless it is a dry run."""
    spec = specification(args.entity, args.project)
    write_json(args.json, spec)
    if args.dry_run:
        if args.json != "-":
            panels = sum(len(section["panels"]) for section in spec["sections"])
            print(f"{len(spec['sections'])} sections, {panels} panels; nothing was built")
        return
    for url in publish(spec):
        print(url)


def specification(entity: str, project: str) -> JsonDict:
    """What is built: sections of panels, each panel with a kind, a title and the names of its metrics."""
    sections = [
        {"name": name, "text": text, "panels": [_panel("line", title, metrics) for title, metrics in panels]}
        for name, (text, panels) in CURVES.items()
    ]
    sections += [
        {"name": name, "text": text, "panels": [_panel("table", table, (table,)) for table in tables]}
        for name, (text, tables) in TABLES.items()
    ]
    return {"entity": entity, "project": project, "name": NAME, "x": "update", "sections": sections}


def _panel(kind: str, title: str, metrics: tuple[str, ...]) -> JsonDict:
    return {"kind": kind, "title": title, "metrics": list(metrics)}


def metrics_of(spec: JsonDict) -> list[str]:
    """Names of all metrics and tables of the pages."""
    return [name for section in spec["sections"] for panel in section["panels"] for name in panel["metrics"]]


def publish(spec: JsonDict) -> list[str]:
    """Build both pages; their addresses.

    Raises:
        ConfigError: packages, account or network are missing; nothing was built then.
    """
    if (mode := os.environ.get("WANDB_MODE", "online")) != "online":
        raise ConfigError(f"WANDB_MODE={mode}: the pages are W&B's, unset it to build them{WAY_OUT}")
    require("wandb_workspaces", "wandb", what="qr dashboard")
    import wandb  # noqa: PLC0415

    try:
        api = wandb.Api()
        entity = spec["entity"] or api.default_entity
        workspace, report = pages(spec | {"entity": entity})
        workspace.save()
        report.save()
    except (wandb.errors.Error, OSError) as error:  # no account, a wrong key; no network
        raise ConfigError(f"W&B could not be reached as your account: {error}{WAY_OUT}") from error
    return [workspace.url, report.url]


def pages(spec: JsonDict) -> tuple[Any, Any]:
    """The workspace and the report, not saved yet."""
    import wandb_workspaces.reports.v2 as reports  # noqa: PLC0415
    import wandb_workspaces.workspaces as workspaces  # noqa: PLC0415

    settings = workspaces.WorkspaceSettings(x_axis=spec["x"])
    sections = [
        workspaces.Section(name=section["name"], panels=_panels(spec, section), is_open=True)
        for section in spec["sections"]
    ]
    where = {"entity": spec["entity"], "project": spec["project"]}
    workspace = workspaces.Workspace(
        **where, name=spec["name"], sections=sections, settings=settings, auto_generate_panels=True
    )
    blocks: list[Any] = [reports.TableOfContents()]
    for section in spec["sections"]:
        grid = reports.PanelGrid(runsets=[reports.Runset(**where)], panels=_panels(spec, section))
        blocks += [reports.H2(text=section["name"]), reports.P(text=section["text"]), grid]
    return workspace, reports.Report(**where, title=spec["name"], blocks=blocks)


def _panels(spec: JsonDict, section: JsonDict) -> list[Any]:
    import wandb_workspaces.reports.v2 as reports  # noqa: PLC0415

    return [
        reports.LinePlot(title=panel["title"], x=spec["x"], y=panel["metrics"])
        if panel["kind"] == "line"
        else reports.WeavePanelSummaryTable(table_name=panel["metrics"][0])
        for panel in section["panels"]
    ]
