"""What `qr dashboard` does; its settings, and the commands, are in `runs/dashboard/args.py`."""

from __future__ import annotations

import os
from typing import Any

from qr_env.common.errors import ConfigError
from runs.common.cli import write_json
from runs.dashboard.args import Args

# Section → (title, metrics over updates) and what it tells in the report. A table's metric is its name.
CURVES: dict[str, tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "Held-out queries": (
        "The student on dev queries, greedy, by people's labels or the shop's known truth.",
        (
            ("nDCG@10", ("eval/nDCG@10", "eval/identity/nDCG@10", "eval/oracle/nDCG@10")),
            ("Headroom closed", ("eval/headroom",)),
            ("Better and worse", ("eval/better", "eval/worse")),
            ("Left alone", ("eval/kept",)),
            ("Words", ("eval/words ratio",)),
        ),
    ),
    "Judge and labels": (
        "A training judge that rises while the labels do not is being exploited, not satisfied.",
        (
            ("Who says that it got better", ("eval/judge nDCG@10", "eval/nDCG@10")),
            ("Planted products that fool the judge", ("judge/exploit_rate",)),
            ("Rewards without a verdict", ("judge/failed_fraction",)),
        ),
    ),
    "Learning": (
        "What each update saw of its own rewrites.",
        (
            ("Reward", ("reward", "reward_std")),
            ("Reward, term by term", ("reward/gain", "reward/worse", "reward/gate", "reward/length", "reward/copy")),
            ("Originals kept", ("keep_fraction",)),
            ("Length", ("completions/mean_length",)),
            ("KL to the warm start", ("kl",)),
            ("Entropy", ("entropy",)),
            ("Silent groups", ("groups/zero_variance",)),
            ("Clipped", ("clip_ratio",)),
            ("Loss", ("loss", "anchor_loss")),
            ("Gradient norm", ("grad_norm",)),
        ),
    ),
    "Promotion": (
        "What shoppers were served, and the evidence for each candidate.",
        (
            ("What shoppers got", ("serve/gain",)),
            ("Candidate minus serving", ("serve/difference",)),
            ("Evidence, log e", ("serve/log_e",)),
            ("Canary's share", ("serve/canary",)),
        ),
    ),
}
TABLES = {
    "Rewrites": ("Sampled rewrites with what they found and its verdicts.", ("samples",)),
    "Decisions": ("Every candidate's way, with its evidence.", ("promotion/decisions",)),
    "At the end": ("All agents on held-out queries, by slice.", ("evaluation by slice",)),
}
NAME = "qr-env: rewriting, judged and served"


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


def specification(entity: str, project: str) -> dict[str, Any]:
    """What is built, as JSON values: sections of panels, each with a kind, a title and the names of its metrics."""
    sections = [
        {"name": name, "says": says, "panels": [_panel("line", title, metrics) for title, metrics in panels]}
        for name, (says, panels) in CURVES.items()
    ]
    sections += [
        {"name": name, "says": says, "panels": [_panel("table", table, (table,)) for table in tables]}
        for name, (says, tables) in TABLES.items()
    ]
    return {"entity": entity, "project": project, "name": NAME, "x": "update", "sections": sections}


def _panel(kind: str, title: str, metrics: tuple[str, ...]) -> dict[str, Any]:
    return {"kind": kind, "title": title, "metrics": list(metrics)}


def metrics_of(spec: dict[str, Any]) -> list[str]:
    """Every metric and table that the pages show."""
    return [name for section in spec["sections"] for panel in section["panels"] for name in panel["metrics"]]


def publish(spec: dict[str, Any]) -> list[str]:
    """Build both pages and give their addresses.

    Raises:
        ConfigError: packages, account or network are missing; nothing was built then.
    """
    way_out = "; `qr dashboard --dry-run --json FILE` shows what would be built"
    if (mode := os.environ.get("WANDB_MODE", "online")) != "online":
        raise ConfigError(f"WANDB_MODE={mode}: the pages are W&B's, unset it to build them{way_out}")
    try:
        import wandb
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"qr dashboard needs pip install 'qr-env[dashboard]' ({error.name} is missing)") from error
    try:
        api = wandb.Api()
        entity = spec["entity"] or api.default_entity
        workspace, report = pages(spec | {"entity": entity})
        workspace.save()
        report.save()
    except (wandb.errors.Error, OSError) as error:  # no account, a wrong key; no network
        raise ConfigError(f"W&B could not be reached as your account: {error}{way_out}") from error
    return [workspace.url, report.url]


def pages(spec: dict[str, Any]) -> tuple[Any, Any]:
    """The workspace and the report as objects of wandb-workspaces, not saved."""
    import wandb_workspaces.reports.v2 as reports
    import wandb_workspaces.workspaces as workspaces

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
        blocks += [reports.H2(text=section["name"]), reports.P(text=section["says"]), grid]
    return workspace, reports.Report(**where, title=spec["name"], blocks=blocks)


def _panels(spec: dict[str, Any], section: dict[str, Any]) -> list[Any]:
    import wandb_workspaces.reports.v2 as reports

    return [
        reports.LinePlot(title=panel["title"], x=spec["x"], y=panel["metrics"])
        if panel["kind"] == "line"
        else reports.WeavePanelSummaryTable(table_name=panel["metrics"][0])
        for panel in section["panels"]
    ]
