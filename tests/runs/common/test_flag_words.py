"""Advice names what its caller has: Python callers read settings, the terminal reads flags that the verb really has."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from qr_env.common.errors import DataError
from runs.bench.args import PARTS as BENCH
from runs.bench.args import LuceneArgs
from runs.common.cli import VERBS, errors_as_exit_codes
from runs.common.flag_words import SETTING, as_flags, flag_for, flags_of
from runs.evaluate.args import Args as EvaluateArgs
from runs.judge.args import PARTS as JUDGE
from runs.judge.args import CalibrateArgs
from runs.online.args import Args as OnlineArgs
from tests.helpers.structure import source_files, syntax_tree

ROOT = Path(__file__).parents[3]
FLAG = re.compile(r"--[a-z][a-z0-9._-]*")
COMMAND = re.compile(r"\bqr (?P<verb>[a-z]+)(?P<rest>[^`;,)]*)")
# Flags of other programs: vLLM, pip, accelerate, and the common flags of every verb.
FOREIGN = {
    *("--max-logprobs", "--num_processes", "--nproc-per-node", "--multi_gpu", "--no-deps", "--dest", "--quiet"),
    *("--no-cache-dir", "--only-binary", "--set", "--config", "--list-settings", "--help"),
}
# Folder or file → verbs that show its messages. "shop" stands for every verb that reads a shop.
READ_A_SHOP = {
    "online", "recipe", "pairs", "evaluate", "suggest", "headroom", "shop", "play", "judge calibrate", "judge probe",
    "judge distill", "judge shopper", "bench retrieval", "bench env", "bench judge", "bench online", "bench churn",
    "bench lucene",
}  # fmt: skip
ASK_A_JUDGE = {
    "online", "pairs", "evaluate", "suggest", "headroom", "judge calibrate", "judge probe", "judge distill",
    "judge shopper", "bench lucene",
}  # fmt: skip
REACHED_BY = {
    "qr_env/shop": READ_A_SHOP,
    "judges/llm": ASK_A_JUDGE,
    "judges/verdict_store/file.py": {*ASK_A_JUDGE, "judge store"},
    "judges/verdict_store/maintenance.py": {"judge store"},
    "judges/validation/gate.py": {"online"},
    "judges/validation/planted.py": {"online"},
    "judges/cross_encoder/training.py": {"judge distill"},
    "qr_env/evaluation/evaluator.py": {"evaluate", "bench lucene"},
    "qr_env/traffic": {"online"},
    "qr_env/llm": ASK_A_JUDGE,
    "qr_env/llm/server.py": {"judge serve"},
    "agents/factory.py": {"evaluate", "pairs", "bench lucene"},
    "agents/rl": {"online"},
    "agents/tracking": {"online"},
    "agents/policy/checkpoint.py": {"online"},
    "runs/online": {"online"},
}


def verbs() -> dict[str, type]:
    """ "VERB" or "VERB PART" → settings."""
    found: dict[str, type] = {}
    for verb in VERBS:
        module = importlib.import_module(f"runs.{verb}.args")
        parts = getattr(module, "PARTS", None)
        if parts is None:
            found[verb] = module.Args
        else:
            found |= {f"{verb} {part}": kind for part, (kind, _, _) in parts.items()}
    return found


ALL = verbs()
KNOWN = {name for kind in ALL.values() for name in flags_of(kind)}


def literals(file: Path) -> Iterator[str]:
    """The texts of a file's exceptions and tables, docstrings left out; "{}" for what is filled in."""
    tree = syntax_tree(file)
    plain = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in plain or id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "'{}'" for part in node.values)  # type: ignore[misc]


def packages() -> list[Path]:
    return [file for name in ("qr_env", "judges", "agents") for file in source_files(name)]


def test_the_same_message_speaks_to_python_and_to_each_verb() -> None:
    text = "k=0: pass on_bad_row='skip', choose another `store`, or prompt='json_v2'; see `qr judge serve`, not `topic`"
    assert as_flags(text, EvaluateArgs) == (
        "--k 0: pass --on-bad-row skip, choose another --store, or --judge-prompt json_v2; see `qr judge serve`, "
        "not `topic`"
    )
    assert as_flags(text, OnlineArgs) == (
        "k=0: pass --on-bad-row skip, choose another --judge-store, or --set judging.prompt=json_v2; see "
        "`qr judge serve`, not `topic`"
    )
    assert "--prompt json_v2" in as_flags(text, CalibrateArgs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("report_judge='no such': unknown", "--report-judge 'no such': unknown"),
        ("resume=True or resume=False", "--resume or --no-resume"),
        ("learning.epochs=0: too few", "--set learning.epochs=0: too few"),
        ("write --set judging.model=NAME", "write --set judging.model=NAME"),
        ("kappa_labels=FILE", "--set judging.kappa_labels=FILE"),
        ("bm25:fields=title*5,seed=3", "bm25:fields=title*5,seed=3"),
        ("https://host/?seed=3 and 'seed=3'", "https://host/?seed=3 and 'seed=3'"),
        ("weight=1.5", "--weight 1.5"),
        ("a `b` c", "a `b` c"),
    ],
)
def test_only_settings_of_the_verb_become_flags(text: str, expected: str) -> None:
    assert as_flags(text, OnlineArgs) == expected


def test_the_terminal_shows_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), errors_as_exit_codes(EvaluateArgs):
        raise DataError("row 3 (on_bad_row='skip' leaves such rows out)")
    assert "DataError: row 3 (--on-bad-row skip leaves such rows out)" in capsys.readouterr().err


def test_the_packages_name_no_flag_except_in_a_command() -> None:
    wrong, foreign = [], FOREIGN | serving()
    for file in packages():
        for text in literals(file):
            outside = COMMAND.sub("", text)
            wrong += [f"{file}: {flag} in {text!r}" for flag in FLAG.findall(outside) if flag not in foreign]
    assert wrong == []


def serving() -> set[str]:
    """Flags of vLLM that qr_env/llm/server.py starts it with."""
    text = (ROOT / "qr_env" / "llm" / "server.py").read_text(encoding="utf-8")
    return set(FLAG.findall(text))


def test_commands_in_messages_have_the_flags_that_they_name() -> None:
    wrong = []
    for file in [*packages(), *source_files("runs")]:
        for text in literals(file):
            for found in COMMAND.finditer(text):
                words = found["rest"].split()
                name = " ".join([found["verb"], *words[:1]])
                kind = ALL.get(name) or ALL.get(found["verb"])
                flags = {flag.rstrip(".") for flag in FLAG.findall(found["rest"])} - FOREIGN
                if kind is None and flags:
                    wrong.append(f"{file}: no verb for {found[0]!r}")
                elif kind is not None:
                    has = set(flags_of(kind).values())
                    wrong += [f"{file}: qr {name} has no {flag}" for flag in flags if flag not in has]
    assert wrong == []


def test_settings_in_messages_are_flags_of_every_verb_that_shows_them() -> None:
    wrong = []
    for file in source_files():
        place = max((place for place in REACHED_BY if str(file).startswith(place)), key=len, default="")
        names = {found["bare"] for text in literals(file) for found in SETTING.finditer(text) if found["bare"]}
        settings = {
            name for name in names if flag_for(name, dict.fromkeys(KNOWN, "--"))
        }  # the others: columns, methods
        for verb in REACHED_BY.get(place, ()):
            flags = flags_of(ALL[verb])
            wrong += [f"{file}: `{name}` is no flag of qr {verb}" for name in settings if not flag_for(name, flags)]
    assert wrong == []


@pytest.mark.parametrize("verb", sorted(READ_A_SHOP))
def test_every_verb_that_reads_a_shop_says_how_to_read_it(verb: str) -> None:
    flags = set(flags_of(ALL[verb]).values())
    assert {"--data", "--on-bad-row", "--grades", "--encoding", "--language"} <= flags


@pytest.mark.parametrize("verb", sorted(ASK_A_JUDGE - {"online"}))
def test_every_verb_that_asks_a_judge_names_its_server(verb: str) -> None:
    flags = flags_of(ALL[verb])
    assert all(flag_for(name, flags) for name in ("url", "model", "prompt", "timeout", "store"))


def test_online_has_at_most_forty_flags() -> None:
    flags = [flag for flag in flags_of(OnlineArgs).values() if not flag.startswith("--set")]
    assert len(flags) <= 40 and len(fields(OnlineArgs)) >= len(flags)
    assert set(BENCH) and set(JUDGE) and LuceneArgs in [kind for kind, _, _ in BENCH.values()]
