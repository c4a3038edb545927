"""`qr`: verbs, settings from a file and from flags, errors in one line, and a start without heavy libraries."""

import contextlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from qr_env.common.errors import ConfigError
from runs.common import cli
from runs.common.cli import VERBS, run
from runs.common.folder import open_run
from runs.common.output import write_json
from runs.common.settings import from_mapping, read_yaml


@dataclass
class Args:
    """Settings of a verb that does not exist."""

    shop: str
    """no default"""
    out: Path = Path("out/default")
    """a path"""
    rate: float = 0.5
    """a number that YAML may take for a text"""
    engine: Literal["bm25", "dense"] = "bm25"
    """a choice"""
    names: tuple[str, ...] = field(default=("a",))
    """several"""
    data: str | None = None
    """may be nothing"""


def parsed(argv, config=None, tmp_path=None):
    """The Args that `run` hands to the action."""
    if config is not None:
        file = tmp_path / "settings.yaml"
        file.write_text(config)
        argv = [*argv, "--config", str(file)]
    seen = []
    run(Args, seen.append, argv)
    return seen[0]


def failure(capsys, argv, config=None, tmp_path=None):
    """(exit code, standard error) of a start that fails."""
    with pytest.raises(SystemExit) as stop:
        parsed(argv, config, tmp_path)
    return stop.value.code, capsys.readouterr().err


def test_an_unknown_verb_lists_the_known_ones_and_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["fly"])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no verb 'fly'" in captured.err
    assert all(verb in captured.err for verb in VERBS)


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_lists_the_verbs_on_standard_output(capsys, argv):
    cli.main(argv)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert all(verb in captured.out and what in captured.out for verb, what in VERBS.items())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(capsys, verb):
    with contextlib.suppress(SystemExit):
        cli.main([verb, "--help"])
    assert f"qr {verb}" in capsys.readouterr().out


def test_the_help_names_only_checkpoints_that_a_run_writes():
    root = Path(cli.__file__).parents[2]
    texts = [file.read_text(encoding="utf-8") for part in ("runs", "agents") for file in (root / part).rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"/checkpoints/([\w-]+)", text)}
    assert "best" in named and named <= {"warm", "best", "serving"}


def test_an_expected_error_is_one_line_and_exit_code_1(capsys):
    def action(args):
        raise ConfigError("weight -1: must be ≥ 0")

    with pytest.raises(SystemExit) as stop:
        run(Args, action, ["--shop", "x"])
    assert stop.value.code == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "ConfigError: weight -1: must be ≥ 0\n")


def test_other_errors_are_bugs_and_keep_their_traceback():
    def action(args):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Args, action, ["--shop", "x"])


def test_a_config_sets_defaults_of_the_right_type_and_flags_win(tmp_path):
    config = "shop: mine\nout: out/x\nrate: 1e-4\nengine: dense\nnames: [b, c]\ndata: null\n"
    expected = Args("mine", Path("out/x"), 1e-4, "dense", ("b", "c"), None)
    assert parsed([], config, tmp_path) == expected
    args = parsed(["--rate", "2", "--out", "y"], config, tmp_path)
    assert (args.rate, args.out, args.shop, args.engine) == (2.0, Path("y"), "mine", "dense")


def test_the_config_flag_may_come_first_and_take_an_equals_sign(tmp_path):
    (tmp_path / "c.yaml").write_text("rate: 3")
    assert parsed([f"--config={tmp_path / 'c.yaml'}", "--shop", "x"]).rate == 3.0
    assert parsed(["--config", str(tmp_path / "c.yaml"), "--shop", "x"]).rate == 3.0


def test_an_empty_config_changes_nothing(tmp_path):
    assert parsed(["--shop", "x"], "", tmp_path) == Args("x")


def test_a_missing_required_setting_is_named(capsys, tmp_path):
    code, text = failure(capsys, [], "rate: 1", tmp_path)
    assert code == 2
    assert "--shop" in text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("shop: x\nspeed: 3\n", ["unknown settings ['speed']", "'rate'"]),
        ("rate: fast\n", ["rate", "'fast'", "number"]),
        ("engine: solr\n", ["engine", "'solr'", "bm25"]),
        ("- a\n- b\n", ["list", "name: value"]),
        ("rate: [1\n", ["not valid YAML"]),
    ],
)
def test_an_invalid_config_is_refused_with_the_reason(capsys, tmp_path, config, words):
    code, text = failure(capsys, [], config, tmp_path)
    assert code == 1
    assert len(text.splitlines()) == 1
    assert all(word in text for word in [*words, "settings.yaml"])


def test_a_missing_config_file_is_refused(capsys, tmp_path):
    assert failure(capsys, ["--config", str(tmp_path / "no.yaml")])[0] == 1
    assert "needs a YAML file" in failure(capsys, ["--shop", "x", "--config"])[1]


RECIPES = sorted((Path(cli.__file__).parents[1] / "recipes").glob("*.yaml"))


# Recipes with stages belong to `qr recipe`: tests/runs/recipe/test_load.py.
@pytest.mark.parametrize("recipe", [path for path in RECIPES if "stages" not in read_yaml(path)], ids=lambda p: p.stem)
def test_every_recipe_without_stages_is_a_config_of_qr_online(recipe):
    from runs.online.args import Args as OnlineArgs

    seen = []
    run(OnlineArgs, seen.append, ["--config", str(recipe)])
    assert isinstance(seen[0].out, Path)


def test_json_goes_to_a_file_standard_output_or_nowhere(tmp_path, capsys):
    import numpy as np

    payload = {"größe": np.float32(0.5), "n": np.int64(3)}
    write_json(str(tmp_path / "new" / "x.json"), payload)
    assert json.loads((tmp_path / "new" / "x.json").read_text(encoding="utf-8")) == {"größe": 0.5, "n": 3}
    assert capsys.readouterr().out == ""
    write_json("-", payload)
    assert json.loads(capsys.readouterr().out) == {"größe": 0.5, "n": 3}
    write_json(None, payload)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("argv", [["--help"], ["online", "--help"], ["shop", "--help"], ["evaluate", "--help"]])
def test_help_loads_no_heavy_library(argv):
    code = (
        "import sys\nfrom runs.common.cli import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'faiss', 'bm25s', 'numba', 'trl', 'wandb', 'matplotlib'}\n"
        "print('loaded:', *sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage" in done.stdout
    assert done.stderr.strip() == "loaded:"


def test_a_closed_pipe_is_no_error():
    writer = [sys.executable, "-m", "runs.online", "--help"]
    with subprocess.Popen(writer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as help_text:
        reader = subprocess.run(["head", "-n", "1"], stdin=help_text.stdout, capture_output=True, text=True, check=True)
        assert help_text.stdout is not None and help_text.stderr is not None
        help_text.stdout.close()  # the writer's pipe has no reader any more
        assert reader.stdout and help_text.stderr.read() == ""


@dataclass
class Prices:
    """A group of settings."""

    copy: float = 0.5
    """Price of a copy."""


@dataclass
class Judging:
    """A group without flags."""

    url: str | None = ""
    """Where."""


@dataclass
class Grouped:
    """One group with flags, one without."""

    name: str
    """A name."""
    reward: Prices = field(default_factory=Prices)
    """Prices."""
    judging: Annotated[Judging, tyro.conf.Fixed] = field(default_factory=Judging)
    """Judges."""


def test_groups_of_settings_come_from_mappings_assignments_and_flags(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("name: a\nreward: {copy: 0.25}\njudging: {url: http://127.0.0.1:1}\n")
    seen = []
    run(Grouped, seen.append, ["--config", str(config)])
    run(Grouped, seen.append, ["--config", str(config), "--reward.copy", "1", "--set", "judging.url=x", "name=b"])
    run(Grouped, seen.append, ["--set", "reward.copy=1e-4", "--set", "name=c", "judging.url=None", "--name", "d"])
    assert seen == [
        Grouped("a", Prices(0.25), Judging("http://127.0.0.1:1")),
        Grouped("b", Prices(1.0), Judging("x")),
        Grouped("d", Prices(1e-4), Judging(None)),
    ]


def test_settings_without_a_flag_are_listed_and_suggested(capsys):
    with pytest.raises(SystemExit) as stop:
        run(Grouped, print, ["--list-settings"])
    assert stop.value.code == 0
    listed = capsys.readouterr().out
    assert "judging.url: str | None = ''\n    Where.\n" in listed and "name: str = required\n    A name.\n" in listed
    for argv, message in (
        (["--name", "a", "--url", "x"], "--url is not a flag; write --set judging.url=VALUE"),
        (["--name", "a", "--set"], "--set needs NAME=VALUE"),
        (["--name", "a", "--set", "judging.uri=x"], "--set: unknown settings ['judging.uri']; known are ['url']"),
        (["--name", "a", "--set", "reward.copy=much"], "--set: reward.copy: 'much'"),
    ):
        with pytest.raises(SystemExit):
            run(Grouped, print, argv)
        assert message in capsys.readouterr().err


def test_help_shows_the_examples_line_by_line_and_no_setting_without_a_flag(capsys):
    with pytest.raises(SystemExit):
        run(Grouped, print, ["--help"], description="What it does.\n\n    qr a      # one\n    qr b      # two\n")
    printed = capsys.readouterr().out
    assert "    qr a      # one\n    qr b      # two\n" in printed
    assert "--reward.copy" in printed and "--list-settings" in printed and "judging" not in printed


def test_qr_online_has_at_most_forty_flags(capsys):
    with pytest.raises(SystemExit):
        cli.main(["online", "--help"])
    lines = [line.lstrip("│ ") for line in capsys.readouterr().out.splitlines() if re.match(r"(│ | {0,2})-", line)]
    flags = {line.removeprefix("-h, ").split()[0] for line in lines if "---" not in line}
    assert 20 < len(flags) <= 40


@dataclass
class Wordy:
    """A verb whose settings are described on several lines."""

    prices: Prices = field(default_factory=Prices)
    """Prices."""
    kind: str = ""
    """A list of kinds: one
    (in parentheses), another, "quoted" and
    `code`; the last."""


def test_help_of_a_setting_is_one_paragraph(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        run(Wordy, print, ["--help"])
    assert 'A list of kinds: one (in parentheses), another, "quoted" and `code`; the last.' in capsys.readouterr().out


@dataclass
class Listed:
    """Groups of settings in containers."""

    prices: tuple[Prices, ...] = ()
    """Several groups."""
    named: dict[str, Prices] = field(default_factory=dict)
    """Groups by name."""
    either: tuple[Prices | Judging, ...] = ()
    """Groups of two kinds."""
    perhaps: Prices | None = None
    """A group or none."""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prices": [{"copy": 1}, {"cpoy": 2}]}, r"unknown settings \['prices.1.cpoy'\]; known are \['copy'\]"),
        ({"named": {"a": {"cpoy": 2}}}, r"unknown settings \['named.a.cpoy'\]; known are \['copy'\]"),
        ({"either": [{"cpoy": 2}]}, r"cpoy'\]; known are \['copy'\]"),
        ({"perhaps": {"cpoy": 2}}, r"unknown settings \['perhaps.cpoy'\]; known are \['copy'\]"),
    ],
)
def test_an_unknown_setting_in_a_list_of_groups_is_named_with_the_known_ones(values, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Listed, values, "x.yaml")


def test_an_unknown_setting_in_a_group_is_named(tmp_path, capsys):
    config = tmp_path / "run.yaml"
    config.write_text("name: a\nreward: {cpoy: 0.25}\n")
    with pytest.raises(SystemExit):
        run(Grouped, print, ["--config", str(config)])
    assert "['reward.cpoy']; known are ['copy']" in capsys.readouterr().err


@dataclass
class Resumed:
    """Settings of a verb whose runs can be resumed."""

    out: Path = Path("out/x")
    """Run folder."""
    resume: bool = False
    """Continue the run."""
    rate: float | None = None
    """An optional number."""
    names: tuple[str, ...] = ("a",)
    """Several."""
    reward: Prices = field(default_factory=Prices)
    """Prices."""
    judging: Annotated[Judging, tyro.conf.Fixed] = field(default_factory=Judging)
    """Judges."""


def test_a_resumed_run_keeps_the_settings_it_was_started_with(tmp_path):
    started = Resumed(tmp_path / "moved since", rate=1e-4, names=(), reward=Prices(0.25), judging=Judging("x"))
    open_run(started.out, started, {}, resume=False)
    started.out.rename(out := tmp_path / "run")
    config = tmp_path / "more.yaml"
    config.write_text("rate: 2\nreward: {copy: 0.5}\n")
    start, seen = ["--out", str(out), "--resume"], []
    run(Resumed, seen.append, start)
    run(Resumed, seen.append, [*start, "--rate", "None", "--names", "a", "--reward.copy", "1", "--set", "judging.url="])
    run(Resumed, seen.append, [*start, "--config", str(config), "--rate", "3"])
    assert seen[0] == replace(started, out=out, resume=True)
    assert seen[1] == Resumed(out, resume=True, reward=Prices(1.0))
    assert seen[2] == replace(started, out=out, resume=True, rate=3.0, reward=Prices(0.5))
    run(Resumed, seen.append, ["--out", str(out)])
    assert seen[3] == Resumed(out), "without --resume the settings of the earlier run are not read"


def test_a_run_whose_settings_are_damaged_is_not_resumed(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"args": ')
    with pytest.raises(SystemExit):
        run(Resumed, print, ["--out", str(tmp_path), "--resume"])
    assert "config.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["grpo.yaml", "long.yaml", "ppo.yaml"])
def test_a_resumed_recipe_has_all_its_settings(tmp_path, recipe):
    from runs.online.args import Args as OnlineArgs

    path, seen = Path(cli.__file__).parents[1] / "recipes" / recipe, []
    run(OnlineArgs, seen.append, ["--config", str(path), "--out", str(tmp_path / "run")])
    open_run(tmp_path / "run", seen[0], {}, resume=False)
    run(OnlineArgs, seen.append, ["generated", "--out", str(tmp_path / "run"), "--resume"])
    assert seen[1] == replace(seen[0], resume=True)
