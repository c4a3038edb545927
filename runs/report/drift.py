"""How the policies of a run with --drift followed its shop: regret, recovery after each event, forgetting.

`qr online … --drift …` writes OUT/outcomes.jsonl; `qr report OUT` prints this analysis and writes OUT/drift.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qr_env.common.errors import ConfigError
from qr_env.evaluation.regret import LEVEL, WINDOW, Outcomes, read_outcomes, report

OUTCOMES_FILE, DRIFT_FILE = "outcomes.jsonl", "drift.json"


def run_outcomes(source: Path) -> Outcomes:
    """The outcomes of a run folder, or of one such file. Raises ConfigError where there are none."""
    path = source / OUTCOMES_FILE if source.is_dir() else source
    if not path.is_file():
        raise ConfigError(f"{path} does not exist: make the run with --drift")
    return read_outcomes(path)


def drift_analysis(source: Path, window: int = WINDOW, level: float = LEVEL) -> dict[str, Any]:
    """Regret, recoveries and forgetting of each policy, as JSON values.

    Args:
        window: queries over which a headroom share is measured.
        level: share of the headroom share before an event that counts as recovered.
    """
    return report(run_outcomes(source), window, level)


def print_drift(analysis: Mapping[str, Any]) -> None:
    """Print the analysis, a line for each policy and each event."""
    print(
        f"{analysis['queries']:,} queries, {analysis['missing']:,} without a verdict, windows of {analysis['window']:,}"
    )
    for name, figures in analysis["policies"].items():
        print(f"{name}: headroom share {figures['share']:.1%}, regret {figures['regret']:,.1f} gains")
        for one in figures["recoveries"]:
            took = "not recovered" if one["queries"] is None else f"recovered after {one['queries']:,} queries"
            shares = f"{one['before']:.1%} before, {one['first']:.1%} first, {one['last']:.1%} last"
            print(f"  {one['event']} at {one['at']:,}: {shares}; {took}")
        worst = sorted(figures["forgetting"].items(), key=lambda pair: -pair[1])[:3]
        print("  forgot most: " + (", ".join(f"{part or 'unknown'} {lost:+.1%}" for part, lost in worst) or "-"))
