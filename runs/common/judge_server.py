"""The flags of the verbs in which a language model may grade: its servers, its prompt, and where verdicts are kept.

@dataclass
class Args(JudgeServerArgs):        # runs/VERB/args.py
    judge: str = "labels"

judge = open_judge(args.judge, shop, args.judge_options())
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from judges.factory import TIMEOUT, JudgeOptions
from judges.llm.prompt import GRADE
from qr_env.common.protocols import TextEncoder


@dataclass(kw_only=True)
class JudgeServerArgs:
    """What `--judge llm` needs."""

    judge_url: tuple[str, ...] = ()
    """llm: base URLs of its servers (default: $QR_JUDGE_URL)"""
    judge_model: str | None = None
    """llm: name of the model at the server (default: $QR_JUDGE_MODEL, else the only one)"""
    judge_prompt: str = GRADE
    """llm: name of a file of judges/llm/prompts/, or a path"""
    judge_timeout: float = TIMEOUT
    """llm: seconds that a server has for an answer"""
    store: Path | None = None
    """folder of the verdict store, and of generated texts; None keeps no verdict"""

    def judge_options(self, encoder: TextEncoder | None = None) -> JudgeOptions:
        """Options of `judges.factory.open_judge`."""
        return JudgeOptions(
            self.judge_url, self.judge_model, self.store, encoder=encoder, prompt=self.judge_prompt,
            timeout=self.judge_timeout,
        )  # fmt: skip
