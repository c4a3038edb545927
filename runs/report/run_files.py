"""The files of a run folder that a report is made from: names, readers, and the writer of `eval.json`.

    write_eval(Path("out/quickstart"), {"identity": identity, "final": student}, shop)
    metrics = read_json_lines(Path("out/quickstart/metrics.jsonl"))

Format of `eval.json`:

    {"agents": {"identity": {"main": "nDCG@10", "by": "labels", "summary": {…}, …}, "spell": {…}, …},
     "agent": "final",                                     # the agent whose rewrites are the examples
     "examples": {"best": [{"query": …, "rewrite": …, "kept": false, "before": 0.1, "after": 0.9, "frequency": 12.0,
                            "hits_before": [{"title": …, "level": 3}, …], "hits_after": […],
                            "words": [{"word": …, "change": "added", "contribution": 0.3}, …]}, …],
                  "typical": […], "worst": […]}}

Where queries were made up from the catalogue, it begins with "warning", a text that says so. An agent's record is
`Evaluation.to_json()`. A level is 3 Exact, 2 Substitute, 1 Complement, 0 Irrelevant or -1 where there is no verdict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qr_env.common.atomic_io import atomic_write, saving
from qr_env.common.errors import ConfigError, RunFolderError
from qr_env.common.privacy import mask_query_texts
from qr_env.evaluation.evaluator import HeldOutEvaluator
from qr_env.evaluation.result import Evaluation
from qr_env.shop.shop import Shop
from runs.report.sections.examples import choose_examples

EVAL_FILE, PLANTED_FILE, REPORT_FILE = "eval.json", "planted.json", "report.html"
SHOPPERS_FILE = "shoppers.json"  # of `qr shoppers --out FOLDER`
JsonDict = dict[str, Any]


def write_eval(
    folder: Path,
    evaluations: Mapping[str, Evaluation],
    shop: Shop,
    agent: str | None = None,
    seed: int = 0,
    evaluator: HeldOutEvaluator | None = None,
) -> Path:
    """Write `eval.json`, from which the report is made; personal data in queries and rewrites is masked.

    Args:
        folder: the run folder.
        evaluations: name → evaluation on the same queries, in the order of the table's columns.
        shop: gives the titles of the products found.
        agent: the agent whose rewrites are the examples; None takes the last.
        seed: of the draw of typical examples.
        evaluator: the evaluator that scored the agents; with it, every word of an example gets its contribution.

    Raises:
        ConfigError: no evaluation, or none of that name.
    """
    if not evaluations:
        raise ConfigError("write_eval needs at least one evaluation")
    agent = agent or list(evaluations)[-1]
    if agent not in evaluations:
        raise ConfigError(f"examples of agent {agent!r}, but evaluated were {', '.join(evaluations)}")
    note = evaluations[agent].made_up_note
    payload = {
        **({"warning": note} if note else {}),
        "agents": {name: evaluation.to_json() for name, evaluation in evaluations.items()},
        "agent": agent,
        "examples": choose_examples(evaluations[agent], shop, seed, evaluator),
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(mask_query_texts(payload), indent=1, ensure_ascii=False, allow_nan=False)
    with saving(folder / EVAL_FILE):
        atomic_write(folder / EVAL_FILE, text + "\n")
    return folder / EVAL_FILE


def read_json(path: Path) -> JsonDict:
    """The content of a JSON file; {} where there is no such file.

    Raises:
        RunFolderError: the file is not JSON.
    """
    if not path.is_file():
        return {}
    try:
        content: JsonDict = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RunFolderError(f"{path} is not JSON ({error}); restore it or remove it") from error
    return content


def read_json_lines(path: Path) -> Sequence[JsonDict]:
    """The lines of a JSONL file such as `metrics.jsonl`; a last line that a kill cut in half is left out.

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
