"""Judges by name, for every verb: "labels", "embedding", "llm", "cross-encoder:FOLDER", "replay", "ensemble:a,b".

judge = open_judge("embedding", shop, JudgeOptions())
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from judges.base import Judge
from qr_env.shop import Shop


@dataclass(frozen=True)
class JudgeOptions:
    """What a judge may need besides its name. urls: base URLs of OpenAI-compatible servers. model: the server's model
    name; None asks it. store: folder of the verdict store; None keeps none. split: labels of this split only."""

    urls: tuple[str, ...] = ()
    model: str | None = None
    store: Path | None = None
    split: str | None = None


def open_judge(spec: str, shop: Shop, options: JudgeOptions = JudgeOptions()) -> Judge:
    """The judge called `spec`, ready to grade the shop's products."""
    from judges.factory import make_judge
    from qr_env.download import cache_root

    encoder = None
    if spec == "embedding":
        from agents.models import resolve
        from qr_env.encoder import Encoder

        encoder = Encoder(resolve("minilm-l6"), cache_dir=cache_root())
    return make_judge(spec, shop, encoder, options.split)
