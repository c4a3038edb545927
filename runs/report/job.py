"""What `qr report` does; its settings, and the commands, are in `runs/report/args.py`."""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qr_env.common.atomic_io import atomic_write, saving
from qr_env.common.errors import ConfigError, RunFolderError
from runs.report.args import Args
from runs.report.attribution import attribute

if TYPE_CHECKING:
    import numpy as np

    from qr_env.evaluation.evaluator import HeldOutEvaluator
    from qr_env.evaluation.result import Evaluation
    from qr_env.shop.shop import Shop

EVAL_FILE, REPORT_FILE = "eval.json", "report.html"
EXAMPLES = 10  # of each kind
SHOWN_HITS = 5


def main(args: Args) -> None:
    """Write the report and print where it is."""
    print(write_report(args.run))


def write_eval(
    folder: Path,
    evaluations: Mapping[str, Evaluation],
    shop: Shop,
    agent: str | None = None,
    seed: int = 0,
    exam: HeldOutEvaluator | None = None,
) -> Path:
    """Write `eval.json` (format: module docstring).

    Args:
        folder: the run folder.
        evaluations: name → evaluation on the same queries, in the order of the table's columns.
        shop: whose titles the examples show.
        agent: whose rewrites are the examples; None takes the last.
        seed: draws the typical examples.
        exam: the one that marked the agents; then every word of an example is told what it was worth.

    Raises:
        ConfigError: no evaluation, or none of that name.
    """
    if not evaluations:
        raise ConfigError("write_eval needs at least one evaluation")
    agent = agent or list(evaluations)[-1]
    if agent not in evaluations:
        raise ConfigError(f"examples of agent {agent!r}, but evaluated were {', '.join(evaluations)}")
    payload = {
        "agents": {name: evaluation.to_json() for name, evaluation in evaluations.items()},
        "agent": agent,
        "examples": examples(evaluations[agent], shop, seed, exam),
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(payload, indent=1, ensure_ascii=False, allow_nan=False)
    with saving(folder / EVAL_FILE):
        atomic_write(folder / EVAL_FILE, text + "\n")
    return folder / EVAL_FILE


def examples(
    evaluation: Evaluation, shop: Shop, seed: int = 0, exam: HeldOutEvaluator | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The ten rewrites that gained most, ten drawn at random from the rest, and the ten that lost most.

    Best only holds gains and worst only losses, so either may be shorter. With the exam, "words" says what each word
    of a rewrite was worth (runs/report/attribution.py).
    """
    import numpy as np

    change_N = np.nan_to_num(evaluation.change)
    order_N = np.argsort(-change_N, kind="stable")
    best = [int(n) for n in order_N[:EXAMPLES] if change_N[n] > 0]
    worst = [int(n) for n in order_N[::-1][:EXAMPLES] if change_N[n] < 0]
    rest = np.setdiff1d(order_N, np.array([*best, *worst], dtype=int))
    typical = np.random.default_rng(seed).permutation(rest)[:EXAMPLES].tolist()
    groups = {"best": best, "typical": typical, "worst": worst}
    told = {name: [_example(evaluation, shop, n) for n in picked] for name, picked in groups.items()}
    if exam is not None:
        places = [n for picked in groups.values() for n in picked]
        words = attribute(exam, places, [evaluation.rewrites[n] for n in places])
        for example, worths in zip(itertools.chain.from_iterable(told.values()), words, strict=True):
            example["words"] = worths
    return told


def _example(evaluation: Evaluation, shop: Shop, n: int) -> dict[str, Any]:
    from qr_env.evaluation.result import plain_json
    from qr_env.retrieval.combine import is_kept

    query, rewrite, main = evaluation.queries[n], evaluation.rewrites[n], evaluation.main
    example = {
        "query": query.text,
        "rewrite": rewrite,
        "kept": is_kept(query.text, rewrite),
        "frequency": query.frequency,
        "before": evaluation.identity[main][n],
        "after": evaluation.values[main][n],
        "hits_before": _hits(shop, evaluation.before.rows_NK[n], evaluation.levels_before[n]),
        "hits_after": _hits(shop, evaluation.after.rows_NK[n], evaluation.levels_after[n]),
    }
    shown: dict[str, Any] = plain_json(example)
    return shown


def _hits(shop: Shop, rows_K: np.ndarray, levels_K: np.ndarray) -> list[dict[str, Any]]:
    pairs = zip(rows_K[:SHOWN_HITS].tolist(), levels_K[:SHOWN_HITS].tolist(), strict=True)
    return [{"title": shop.titles[row], "level": level} for row, level in pairs if row >= 0]


def write_report(folder: Path) -> Path:
    """Write `report.html` from what the run folder holds.

    Raises:
        RunFolderError: no such folder, nothing of a run in it, or a file of it is not JSON.
    """
    from runs.report import sections
    from runs.report.goodhart import goodhart
    from runs.report.promotion import promotions
    from runs.report.stream import timeline
    from runs.stream.job import OUTCOMES

    folder = Path(folder)
    config, evaluation = _read_json(folder / "config.json"), _read_json(folder / EVAL_FILE)
    metrics = read_metrics(folder / "metrics.jsonl")
    if not (config or evaluation or metrics):
        raise RunFolderError(f"{folder} holds no run: none of config.json, metrics.jsonl, {EVAL_FILE} is there")
    name = folder.resolve().name
    parts = [
        sections.headline(name, config, metrics, evaluation),
        sections.curves(metrics),
        goodhart(metrics, evaluation),
        timeline(folder / OUTCOMES),
        promotions(read_metrics(folder / "promotions.jsonl"), metrics),
        sections.evaluation_tables(evaluation),
        sections.rewrites(evaluation),
        sections.what_was_run(config, [*metrics, *read_metrics(folder / "timings.jsonl")]),
        sections.glossary(evaluation),
    ]
    template = string.Template(Path(__file__).with_name("report_template.html").read_text(encoding="utf-8"))
    page = template.substitute(title=escape(f"{name}: query rewriting run"), body="\n".join(filter(None, parts)))
    with saving(folder / REPORT_FILE):
        atomic_write(folder / REPORT_FILE, page)
    return folder / REPORT_FILE


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RunFolderError(f"{path} is not JSON ({error}); restore it or remove it") from error
    return content


def read_metrics(path: Path) -> Sequence[dict[str, Any]]:
    """The lines of `metrics.jsonl`; a last line that a kill cut in half is left out.

    Raises:
        RunFolderError: a line before the last is not JSON.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise RunFolderError(f"{path}:{number} is not JSON ({error}); remove that line") from error
    return rows
