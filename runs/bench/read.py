"""`qr bench read`: a large products file with invalid rows of twelve kinds; settings: `runs/bench/args.py`.

The file is written, then read in a process of its own, as often as asked; with --against by another commit in turns.
Every invalid row must be in the report, by its line.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from qr_env.common.errors import ConfigError
from qr_env.common.messages import print_message
from runs.bench.args import ReadBenchArgs
from runs.bench.output import named_values, publish
from runs.common.timing import Pair

# The invalid rows, by reason; "{n}" is the number of the row and "{tail}" valid values of the other columns.
DIRTY = {
    "missing product_id": ",lamp {n},{tail}",
    "not UTF-8": "p{n},caf\udce9 lamp,{tail}",
    "empty title": "p{n},,{tail}",
    "title of spaces": "p{n},   ,{tail}",
    "duplicate product_id": "p0,lamp {n},{tail}",
    "NUL byte in title": "p{n},la\0mp,{tail}",
    "NUL byte in product_id": "p\0{n},lamp {n},{tail}",
    "title is too long": "p{n}," + "x" * 2_001 + ",{tail}",
    "product_id is too long": "p{n}" + "x" * 256 + ",lamp,{tail}",
    "a field too few": "p{n},lamp {n}",
    "a field too many": "p{n},lamp {n},{tail},9",
    "quote not closed": 'p{n},"lamp {n},{tail}',
}
HEADER = "product_id,title,description,brand,category,color,price,attributes\n"
READ = """
import json, sys, time
{imports}
start, cpu = time.perf_counter(), time.process_time()
shop = {call}
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(json.dumps([seconds, cpu, sorted(bad.line for bad in shop.report.bad_rows)]))
"""
OURS = READ.format(
    imports="from qr_env.shop.load import load_shop\nfrom qr_env.shop.readers.options import ReadOptions",
    call='load_shop(sys.argv[1], options=ReadOptions(on_bad_row="skip"))',
)
THEIRS = READ.format(
    imports="from qr_env.shops import load_shop",
    call='load_shop(sys.argv[1], on_bad_row="skip")',
)


@dataclass(frozen=True)
class Turn:
    """One reading of the file."""

    seconds: float
    """Wall time, without imports."""
    cpu: float
    """CPU seconds of the process."""
    lines: list[int]
    """Lines of the reported rows, ascending."""


def main(args: ReadBenchArgs) -> None:
    """Write the file, read it in turns, print, write."""
    if args.against is not None and not (args.against / "qr_env" / "shops").is_dir():
        raise ConfigError(f"--against {args.against}: no checkout of 8ff7f88 (git worktree add FOLDER 8ff7f88)")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "products.csv"
        print_message(f"writing {args.rows:,} rows")
        dirty = write_products(path, args.rows, args.dirty, args.seed)
        sides = {"ours": (OURS, Path(__file__).parents[2])}
        if args.against is not None:
            sides["theirs"] = (THEIRS, args.against)
        turns: dict[str, list[Turn]] = {name: [] for name in sides}
        for _ in tqdm(range(args.rounds), desc="read", unit="round"):
            for name, (code, root) in sides.items():
                turns[name].append(read_once(path, code, root))
        size = path.stat().st_size
    sides_figures = figures(turns, dirty)
    ratios = {}
    if "theirs" in turns:
        for name in ("seconds", "cpu"):
            times = {side: tuple(getattr(turn, name) for turn in turns[side]) for side in turns}
            ratios[name] = round(Pair(**times).ratio, 4)
    lines = [f"{side:8}{named_values(values, ',.2f')}" for side, values in sides_figures.items()]
    lines += [f"ratio   {named_values(ratios, '.3f')}"] if ratios else []
    sizes = {"rows": args.rows, "invalid": len(dirty), "megabytes": round(size / 1e6)}
    publish({"ratios": ratios, "readers": sides_figures, "sizes": sizes}, lines, args.json)


def write_products(path: Path, rows: int, share: float, seed: int) -> list[int]:
    """Write a products file, a share of its rows invalid in `DIRTY`'s ways by turns; returns their lines."""
    rng = np.random.default_rng(seed)
    words = np.array(["".join(rng.choice(list("abcdefghiklmnoprstuvw"), size=6)) for _ in range(5_000)])
    dirty_N = np.zeros(rows, bool)
    dirty_N[1:] = rng.random(rows - 1) < share  # the first row has the id that is repeated
    kinds = list(DIRTY.values())
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        handle.write(HEADER)
        for start in range(0, rows, 10_000):
            handle.writelines(_lines(start, dirty_N[start : start + 10_000], words, kinds, rng))
    return (np.flatnonzero(dirty_N) + 2).tolist()


def _lines(
    start: int,
    dirty_N: npt.NDArray[np.bool_],
    words: npt.NDArray[np.str_],
    kinds: list[str],
    rng: np.random.Generator,
) -> list[str]:
    """N lines of the file, the first of which is row `start`."""
    texts = [" ".join(row) for row in words[rng.integers(len(words), size=(len(dirty_N), 24))].tolist()]
    prices = rng.integers(100, 100_000, size=len(dirty_N)).tolist()
    lines = []
    for n, (text, price, dirty) in enumerate(zip(texts, prices, dirty_N.tolist(), strict=True), start):
        title, description, brand, category, color = (
            text[:41],
            text[42:132],
            text[133:139],
            text[140:153],
            text[154:160],
        )
        tail = f'"{description}, {color}",{brand},{category},{color},{price / 100:.2f},size: {n % 40} | set: {n % 7}'
        form = kinds[n % len(kinds)] if dirty else "p{n}," + title + ",{tail}"
        lines.append(form.format(n=n, tail=tail) + "\n")
    return lines


def read_once(path: Path, code: str, root: Path) -> Turn:
    """Read the file in a process of its own, with the packages of the checkout at `root`."""
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"the reader of {root} failed: {done.stderr[-1_000:]}")
    return Turn(*json.loads(done.stdout))


def figures(turns: dict[str, list[Turn]], dirty: list[int]) -> dict[str, dict[str, float]]:
    """Of each side: median seconds, and how many invalid rows it did not report, and how many valid ones it did."""
    expected = set(dirty)
    return {
        name: {
            "seconds": statistics.median(turn.seconds for turn in side),
            "cpu seconds": statistics.median(turn.cpu for turn in side),
            "invalid rows not reported": len(expected - set(side[0].lines)),
            "valid rows reported": len(set(side[0].lines) - expected),
        }
        for name, side in turns.items()
    }
