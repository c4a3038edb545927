"""Every command that README and the guides print is understood: its verb, its part, its flags and their values."""

import importlib
import re
import shlex

import pytest

from runs.common.cli import VERBS, parse
from tests.helpers.structure import ROOT

PAGES = ("README.md", *(f"runs/guides/{path.name}" for path in sorted((ROOT / "runs" / "guides").glob("*.md"))))


def commands() -> list[tuple[str, str]]:
    """(page, command) of every line in a code block that begins with `qr `, without its comment."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for block in re.findall(r"```(?:bash|sh)?\n(.*?)```", text, flags=re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page, line.split(" # ")[0].rstrip(" &")) for line in lines if line.startswith("qr ")]
    return list(dict.fromkeys(found))


def settings_of(words: list[str]) -> tuple[type, list[str]]:
    """The settings of a command's verb or part, and its flags."""
    settings = importlib.import_module(f"runs.{words[0]}.args")
    if parts := getattr(settings, "PARTS", None):
        return parts[words[1]][0], words[2:]
    return settings.Args, words[1:]


def test_there_are_commands():
    assert len(commands()) > 20
    assert {command.split()[1] for _, command in commands()} <= set(VERBS)


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_printed_command_is_understood(page, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no run of the developer's is resumed
    words = [word for word in shlex.split(command.partition(" | ")[0])[1:] if word not in ("…", "...")]
    if "--help" in words:
        assert words[0] in VERBS
        return
    args_type, flags = settings_of(words)
    assert isinstance(parse(args_type, flags), args_type)
