"""`qr VERB --help` shows the examples line by line, at any width of the terminal."""

from __future__ import annotations

import importlib

import pytest

from runs.common.cli import VERBS, main


def documented() -> list[tuple[str, str]]:
    """("VERB" or "VERB PART", its description)."""
    found = []
    for verb in VERBS:
        module = importlib.import_module(f"runs.{verb}.args")
        found.append((verb, module.__doc__ or ""))
        for part, (kind, _, _) in getattr(module, "PARTS", {}).items():
            found.append((f"{verb} {part}", kind.__doc__ or ""))
    return found


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize(("verb", "text"), documented(), ids=[verb for verb, _ in documented()])
def test_examples_keep_their_lines(
    verb: str, text: str, columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    try:
        main([*verb.split(), "--help"])
    except SystemExit as end:
        assert not end.code
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith("qr ")]
    assert [line for line in shown if line in examples] == examples
