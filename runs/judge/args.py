"""Settings that several parts of `qr judge` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from judges.factory import TIMEOUT, JudgeOptions
from judges.llm.prompt import GRADE


@dataclass
class JudgeArgs:
    """A shop, and where verdicts come from."""

    shop: str = "generated"
    """generated, icecat, esci, wands, or a folder of your own"""
    data: str | None = None
    """folder with the data of icecat, esci or wands (default: $QR_DATA, else download)"""
    url: tuple[str, ...] = ()
    """base URLs of the language model's servers (default: $QR_JUDGE_URL)"""
    model: str | None = None
    """name of the model at the server (default: $QR_JUDGE_MODEL, else the only one)"""
    prompt: str = GRADE
    """prompt of the llm judge: name of a file of judges/llm/prompts/, or a path"""
    timeout: float = TIMEOUT
    """seconds that a server has for an answer"""
    store: Path | None = None
    """folder of the verdict store (default: none; every verdict is computed anew)"""
    json: str | None = None
    """write the figures to this file as JSON ("-": to standard output, and nothing else)"""
    seed: int = 0
    """seed of every random draw and of the bootstrap"""

    def options(self) -> JudgeOptions:
        """Options of `open_judge`."""
        return JudgeOptions(self.url, self.model, self.store, prompt=self.prompt, timeout=self.timeout)
