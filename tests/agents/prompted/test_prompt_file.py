"""Prompt files: what they render, and which ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.prompted.prompt_file import PromptFile
from qr_env.common.errors import ConfigError


def test_prompts_render_examples_and_malformed_files_are_refused(tmp_path: Path) -> None:
    few = PromptFile.load("rewrite_few_v1")
    text = few.render("${words} $5", [("couch", "sofa"), ("fridge", "refrigerator")], 9)
    assert "Query: couch\nRewrite: sofa\n\nQuery: fridge\nRewrite: refrigerator\n\nQuery: ${words} $5\nRewrite:" in text
    assert "at most 9 words" in text and len(few.hash) == 12
    with pytest.raises(ConfigError, match="rewrite_v1"):
        PromptFile.load("rewrite_v9")
    for body in (
        "no head",
        "---\nkind: poem\nexamples: 0\n---\n${query}",
        "---\nkind: rewrite\nexamples: 0\n---\nno slot",
    ):
        (tmp_path / "p.md").write_text(body)
        with pytest.raises(ConfigError, match=r"p\.md"):
            PromptFile.load(tmp_path / "p.md")
