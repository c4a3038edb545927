"""Messages of the packages speak of settings as Python callers know them; here they become the flags of a verb.

    as_flags("k=0: must be 1 or more; choose another `store`", EvaluateArgs)
    # "--k 0: must be 1 or more; choose another --store"

A message names a setting as `name` in backticks, or as name=value, where the value is a number, a quoted text, a truth
value, or a placeholder in capitals. A setting that the verb does not have stays as it is. Nothing else is changed.
"""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

from tyro import conf

# Names of the packages → names that verbs give the same setting, the first one that a verb has.
SAME = {
    "store": ("judge_store",),
    "urls": ("judge_url", "url"),
    "url": ("judge_url",),
    "model": ("judge_model", "judging.model"),
    "prompt": ("judge_prompt", "judging.prompt"),
    "timeout": ("judge_timeout", "judging.timeout"),
    "kappa_labels": ("judging.kappa_labels",),
    "min_kappa": ("judging.min_kappa",),
    "min_pair_accuracy": ("judging.min_pair_accuracy",),
    "low_kappa": ("judging.low_kappa",),
    "original_weight": ("weight",),
    "check_hits": ("traffic.check_hits",),
    "frequency_exponent": ("traffic.frequency_exponent",),
    "sessions": ("traffic.sessions",),
    "lr": ("learning_rate",),
}
NAME = r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)?"
VALUE = r"""'[^']*'|"[^"]*"|-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])|True|False|None|[A-Z][A-Z_.]*(?![\w])"""
SETTING = re.compile(rf"`(?P<bare>{NAME})`|(?<!--set )(?<![\w.,:=/?&'\"-])(?P<name>{NAME})=(?P<value>{VALUE})")


def as_flags(message: str, args_type: type) -> str:
    """The message with the settings of a verb written as one types them at the terminal."""
    flags = flags_of(args_type)

    def replaced(found: re.Match[str]) -> str:
        flag = flag_for(found["bare"] or found["name"], flags)
        if flag is None:
            return found[0]
        return flag if found["bare"] else _assignment(flag, found["value"])

    return SETTING.sub(replaced, message)


def flags_of(args_type: type) -> dict[str, str]:
    """Setting → flag; a setting without a flag of its own → `--set GROUP.NAME`; positional arguments are left out."""
    flags: dict[str, str] = {}
    hints, plain = get_type_hints(args_type, include_extras=True), get_type_hints(args_type)
    for field in fields(args_type):
        marks = get_args(hints[field.name])[1:]
        if is_dataclass(plain[field.name]):
            fixed = conf.Fixed in marks or any(getattr(mark, "name", "") == "Fixed" for mark in marks)
            for inner in fields(plain[field.name]):
                name = f"{field.name}.{inner.name}"
                flags[name] = f"--set {name}" if fixed else f"--{name.replace('_', '-')}"
        elif conf.Positional not in marks:
            flags[field.name] = f"--{field.name.replace('_', '-')}"
    return flags


def flag_for(name: str, flags: dict[str, str]) -> str | None:
    """The flag of a setting by its name in the packages; None if the verb has none."""
    return next((flags[one] for one in (name, *SAME.get(name, ())) if one in flags), None)


def _assignment(flag: str, value: str) -> str:
    if flag.startswith("--set "):
        return f"{flag}={_typed(value)}"
    if value in ("True", "False"):
        return flag if value == "True" else f"--no-{flag.removeprefix('--')}"
    return f"{flag} {_typed(value)}"


def _typed(value: str) -> str:
    """A Python literal as it is typed in a shell; placeholders and numbers as they are."""
    return shlex.quote(str(ast.literal_eval(value))) if value[0] in "'\"" else value
