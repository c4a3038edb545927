"""Whose texts may be compared with held-out pairs: a student to whom their queries are new.

Held-out pairs are of train queries. PRO and online stages learn by trial on those queries too, and imitate what the
engine pays best for them, which is how the pairs were chosen: such a student has seen the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qr_env.common.errors import ConfigError
from runs.recipe.stages import SFT, Base, Distill, Imitate, Pairs, Stage, inputs

if TYPE_CHECKING:
    from runs.recipe.job import Recipe

TEXT_FIGURES = ("exact match", "ROUGE-L", "cross-entropy")
BY_PAIRS = (Base, Pairs, SFT, Distill, Imitate)


def text_scored(stages: Mapping[str, Stage], name: str) -> bool:
    """Whether the stage and all those that it is built on are base, pairs, sft, distill or imitate."""
    if name not in stages:  # a teacher behind a server
        return True
    return isinstance(stages[name], BY_PAIRS) and all(text_scored(stages, other) for other in inputs(stages[name]))


def text_note(recipe: Recipe) -> str:
    """Which compared students have no text scores, and why; "" where all have, or none are taken."""
    without = [name for name in recipe.compare if recipe.held_out and not text_scored(recipe.stages, name)]
    why = "PRO and online stages learned by trial on the queries of the held-out pairs too."
    return f"No {', '.join(TEXT_FIGURES)} of {', '.join(without)}: {why}" if without else ""


def check_claims(path: Path, recipe: Recipe) -> None:
    """ConfigError for a claim on text scores that a student has not."""
    fine = {name for name in recipe.compare if recipe.held_out and text_scored(recipe.stages, name)}
    for claim in recipe.claims:
        if claim.figure in TEXT_FIGURES and (without := {claim.better, claim.than} - fine):
            raise ConfigError(
                f"{path}: claim {claim.what!r} is of {claim.figure}, which {sorted(without)} have not: it needs "
                "`held_out` and students of base, sft, distill and imitate stages alone; take two of "
                f"{sorted(fine)}, or claim another figure"
            )
