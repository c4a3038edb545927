"""Write `report.html` of a run folder; the settings of `qr report` are in `runs/report/args.py`."""

from __future__ import annotations

from pathlib import Path

from qr_env.common.errors import RunFolderError
from runs.common.output import write_json
from runs.common.serving_choice import SERVE_FILE, read_serving_choice
from runs.report.args import Args
from runs.report.drift import DRIFT_FILE, OUTCOMES_FILE, drift_analysis, print_drift
from runs.report.html import write_page
from runs.report.run_files import EVAL_FILE, PLANTED_FILE, REPORT_FILE, SHOPPERS_FILE, read_json, read_json_lines
from runs.report.sections.curves import learning_section
from runs.report.sections.evaluation import evaluation_section
from runs.report.sections.examples import rewrite_section
from runs.report.sections.goodhart import goodhart_section
from runs.report.sections.overview import glossary_section, headline_section, settings_section
from runs.report.sections.planted import planted_section
from runs.report.sections.promotion import promotion_section
from runs.report.sections.serving import serving_section
from runs.report.sections.shoppers import shoppers_section
from runs.report.sections.stream import stream_section


def main(args: Args) -> None:
    """Write the report and print its path; of a run with --drift also print the drift analysis and write drift.json."""
    if (args.run / OUTCOMES_FILE).is_file():
        analysis = drift_analysis(args.run, args.window)
        print_drift(analysis)
        write_json(str(args.run / DRIFT_FILE), analysis)
    print(write_report(args.run))


def write_report(folder: Path) -> Path:
    """Write `report.html` from what the run folder holds.

    Raises:
        RunFolderError: the folder does not exist, holds no file of a run, or one of its files is damaged.
    """
    folder = Path(folder)
    config, evaluation = read_json(folder / "config.json"), read_json(folder / EVAL_FILE)
    metrics = read_json_lines(folder / "metrics.jsonl")
    if not (config or evaluation or metrics):
        raise RunFolderError(f"{folder} holds no run: none of config.json, metrics.jsonl, {EVAL_FILE} is there")
    name = folder.resolve().name
    choice = read_serving_choice(folder) if (folder / SERVE_FILE).is_file() else None
    sections = [
        headline_section(name, config, metrics, evaluation, choice.reason if choice else ""),
        serving_section(choice),
        learning_section(metrics),
        goodhart_section(metrics, evaluation),
        planted_section(read_json(folder / PLANTED_FILE)),
        shoppers_section(read_json(folder / SHOPPERS_FILE)),
        stream_section(folder / OUTCOMES_FILE),
        promotion_section(read_json_lines(folder / "promotions.jsonl"), metrics),
        evaluation_section(evaluation),
        rewrite_section(evaluation),
        settings_section(config, [*metrics, *read_json_lines(folder / "timings.jsonl")]),
        glossary_section(evaluation),
    ]
    return write_page(folder / REPORT_FILE, f"{name}: query rewriting run", sections)
