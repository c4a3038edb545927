"""What every part of `qr bench` does with its measurements: add origin and machine, print, write JSON."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from runs.common.output import write_json
from runs.common.timing import stamped


def publish(measured: Mapping[str, Any], lines: Iterable[str], json: str | None) -> dict[str, Any]:
    """Print `lines`, sizes and machine unless JSON goes to standard output, and write the report.

    Args:
        measured: holds "ratios" and "sizes".
        lines: the figures as text.
        json: file of the report, "-" for standard output, None for no file.
    """
    report = stamped(measured)
    if json != "-":
        for line in lines:
            print(line)
        machine = report["machine"]
        print(f"{report['sizes']}\n{machine['cpu']}, {machine['cores']} cores, load {machine['load']}")
    write_json(json, report)
    return report


@contextmanager
def refreshed(bar: tqdm[Any], seconds: float = 5.0) -> Iterator[None]:
    """Redraw a progress bar, and so its elapsed time, every few seconds while one long call runs."""
    done = threading.Event()

    def refresh() -> None:
        while not done.wait(seconds):
            bar.refresh()

    thread = threading.Thread(target=refresh, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def ratio_lines(measured: Mapping[str, Any]) -> list[str]:
    """One line a ratio, with the queries a second of both sides where they were counted."""
    width = max(map(len, measured["ratios"]), default=0)
    lines = []
    for name, ratio in measured["ratios"].items():
        rates = measured.get("queries_per_second", {}).get(name, {})
        lines.append(
            f"{name:{width}}  {ratio:7.3f}  " + "  ".join(f"{side} {rate:,.0f}/s" for side, rate in rates.items())
        )
    return lines


def named_values(values: Mapping[str, float], number: str) -> str:
    """ "name value  name value …", numbers in the given format."""
    return "  ".join(f"{name} {value:{number}}" for name, value in values.items())
