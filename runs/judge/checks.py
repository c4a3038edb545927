"""What the parts of `qr judge` refuse before they read a shop.

check_judges(args, ["embedding", "llm"])
"""

from __future__ import annotations

from collections.abc import Iterable

from judges.checks import check_judge
from runs.common.checks import about, check_output
from runs.judge.args import JudgeArgs


def check_judges(args: JudgeArgs, specs: Iterable[str]) -> None:
    """Raise what is wrong with these judges, and with the file of --json."""
    check_output("json", args.json)
    for spec in specs:
        with about("judge", spec):
            check_judge(spec, args.options())
