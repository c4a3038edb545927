"""What `qr judge distill` measures and draws: figures of verdicts on graded lists, their means by size, the picture.

figures(probs_QK4, sample)      # {"ndcg": 0.91, "spearman": 0.74, …}
picture(report)                 # an SVG of its own: a chart a figure, students over size, others dashed
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

import numpy as np

from judges.validation.samples import Sample
from qr_env.common.types import FloatArray
from runs.report.charts import Chart, Line, chart

DRAWN = {"ndcg": "nDCG of re-ordered lists", "spearman": "Spearman", "auc": "AUC", "kappa quadratic": "quadratic κ"}
WIDTH, HEIGHT, TOP = 420, 230, 44
COLORS = ("#2563c9", "#7d8790", "#2f9e5b", "#c8641b", "#8a4fc9", "#c22f4b")  # of runs/report/report_template.html
STYLE = """text { font: 11px system-ui, sans-serif; fill: #5c6670; } .title { font-weight: 600; fill: #1c2024; }
.grid { stroke: #e2e4e0; } .axis { stroke: #7d8790; } .line { fill: none; stroke-width: 2; }
.mark { stroke-dasharray: 5 4; stroke-width: 1.5; } .spread { stroke-width: 1.5; opacity: .5; }"""


def figures(probs_QK4: FloatArray, sample: Sample) -> dict[str, float]:
    """Agreement of verdicts with a sample's grades: nDCG of the lists in the judge's order (lists of several levels
    only, against their best order), Spearman of expected gain and level, AUC of Exact or Substitute, κ, quadratic κ."""
    from scipy.stats import rankdata

    from judges.validation.agreement import agreement, resample_weights
    from qr_env.common.types import GAINS
    from qr_env.reward.metrics import dcg

    known_QK = (sample.levels_QK >= 0) & ~np.isnan(probs_QK4[..., 0])
    if not known_QK.any():
        return dict.fromkeys(("ndcg", "spearman", "auc", "kappa", "kappa quadratic"), float("nan"))
    score_QK = np.where(known_QK, probs_QK4.astype(np.float64) @ GAINS, -np.inf)
    gain_QK = np.where(known_QK, GAINS[np.maximum(sample.levels_QK, 0)], 0.0)
    ideal_Q = dcg(-np.sort(-gain_QK, axis=1))
    order_QK = np.argsort(-score_QK, axis=1, kind="stable")
    worst_Q = np.where(known_QK, gain_QK, np.inf).min(axis=1)
    mixed_Q = gain_QK.max(axis=1) > worst_Q
    share_Q = dcg(np.take_along_axis(gain_QK, order_QK, 1))[mixed_Q] / ideal_Q[mixed_Q]
    query_M = np.repeat(np.arange(len(known_QK)), known_QK.sum(1))
    level_M = sample.levels_QK[known_QK].astype(np.int64)
    ranks_2M = np.stack([rankdata(score_QK[known_QK]), rankdata(level_M)])
    spread = ranks_2M.std(axis=1).min()
    agree = agreement(level_M, probs_QK4[known_QK], query_M, resample_weights(len(known_QK), resamples=2))
    return {
        "ndcg": float(share_Q.mean()) if len(share_Q) else float("nan"),
        "spearman": float(np.corrcoef(ranks_2M)[0, 1]) if spread > 0 else float("nan"),
        **{name: agree[name].value for name in ("auc", "kappa", "kappa quadratic")},
    }


def by_size(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds, by size."""
    rows = []
    for size in sorted({point["size"] for point in points}):
        found = [point["figures"] for point in points if point["size"] == size]
        table = {name: np.array([figures[name] for figures in found]) for name in found[0]}
        mean = {name: float(values.mean()) for name, values in table.items()}
        spread = {name: float(values.std(ddof=1)) if len(values) > 1 else 0.0 for name, values in table.items()}
        rows.append({"size": size, "seeds": len(found), "mean": mean, "std": spread})
    return rows


def picture(report: dict[str, Any]) -> str:
    """Two by two charts in one SVG file, readable by itself."""
    cells = [_cell(report, key, title) for key, title in DRAWN.items()]
    placed = [
        f'<g transform="translate({(n % 2) * WIDTH} {(n // 2) * (HEIGHT + TOP)})">{cell}</g>'
        for n, cell in enumerate(cells)
    ]
    variables = " ".join(f"--c{n}: {color};" for n, color in enumerate(COLORS))
    size = f"0 0 {2 * WIDTH} {2 * (HEIGHT + TOP)}"
    style = f"<style>:root {{ {variables} }} {STYLE}</style><rect width='100%' height='100%' fill='#ffffff'/>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}">{style}{"".join(placed)}</svg>\n'


def _cell(report: dict[str, Any], key: str, title: str) -> str:
    """One chart with its title and what its lines are; points of single seeds are small dots beside the mean."""
    points = [(float(row["size"]), row["mean"][key]) for row in report["curve"]]
    seeds = [(float(point["size"]), point["figures"][key]) for point in report["points"]]
    marks = [(name, line[key], color) for color, (name, line) in zip((1, 3), report["lines"].items(), strict=False)]
    lines = [Line("mean of students", points, 0, dots=True)]
    lines += (
        [Line(f"seed {seed}", _of_seed(report, seed, key), 2, dots=True) for seed in _seeds(report)]
        if len(seeds) > len(points)
        else []
    )
    figure = chart(Chart(title, "lists graded by the teacher", lines, marks, width=WIDTH, height=HEIGHT))
    drawn = re.search(r"<svg.*</svg>", figure, re.DOTALL)
    body = drawn.group(0).replace("<svg ", f'<svg width="{WIDTH}" height="{HEIGHT}" y="{TOP}" ') if drawn else ""
    legend = " · ".join([f"{escape(name)} {level:.3f} (dashed)" for name, level, _ in marks])
    return f'<text class="title" x="12" y="18">{escape(title)}</text><text x="12" y="34">{legend}</text>{body}'


def _seeds(report: dict[str, Any]) -> list[int]:
    return sorted({point["seed"] for point in report["points"]})


def _of_seed(report: dict[str, Any], seed: int, key: str) -> list[tuple[float, float]]:
    return [(float(point["size"]), point["figures"][key]) for point in report["points"] if point["seed"] == seed]
