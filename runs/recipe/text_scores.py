"""Which students may be scored on held-out pairs: those that have not explored rewrites of the pairs' queries.

The held-out pairs are of train queries. PRO and online stages explore rewrites of those queries too, and reinforce the
ones that the engine scores highest, which is how the pairs were selected: such a student has seen the answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from runs.recipe.spec import JudgeStage, OnlineStage, PROStage, Recipe, Stage, stage_inputs

TEXT_METRICS = ("exact match", "ROUGE-L", "cross-entropy")


def has_text_scores(stages: Mapping[str, Stage], name: str) -> bool:
    """Whether neither the stage nor any stage that it is built on is a PRO, online or judge stage."""
    if isinstance(stages[name], PROStage | OnlineStage | JudgeStage):
        return False
    return all(has_text_scores(stages, other) for other in stage_inputs(stages[name]))


def scored_students(recipe: Recipe) -> list[str]:
    """Names of the compared students that get text scores; none if the recipe has no held-out pairs."""
    return [name for name in recipe.compare if recipe.held_out and has_text_scores(recipe.stages, name)]


def text_scores_note(recipe: Recipe) -> str:
    """Which compared students have no text scores, and why; "" if all have, or the recipe has no held-out pairs."""
    scored = scored_students(recipe)
    without = [name for name in recipe.compare if recipe.held_out and name not in scored]
    if not without:
        return ""
    reason = "PRO and online stages explored rewrites of the held-out pairs' queries."
    return f"No {', '.join(TEXT_METRICS)} for {', '.join(without)}: {reason}"
