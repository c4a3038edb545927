"""What is logged of one step: metrics, a few rewrites with their search results, histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agents.policy.losses import group_advantages
from agents.policy.rollout import Rollout
from qr_env.common.types import Grades, Hits
from qr_env.evaluation.scorers import likely_levels

SAMPLES_PER_STEP = 4
PRODUCTS_PER_SAMPLE = 3


@dataclass(frozen=True)
class StepLog:
    """The log of N rewrites, sampled and rewarded in one step."""

    metrics: dict[str, float]
    """Means over the step, under TRL's names where TRL has one; README has the glossary."""
    samples: list[dict[str, Any]]
    """`SAMPLES_PER_STEP` rewrites: query, rewrite, reward, and the first products before and after."""
    histograms: dict[str, npt.NDArray[np.float32]]
    """Values of all rewrites by name, (N,) each; NaN where a verdict is missing."""

    @classmethod
    def of_step(
        cls,
        queries_N: Sequence[str],
        rewrites_N: Sequence[str],
        rollout: Rollout,
        rewards_N: npt.NDArray[np.floating],
        infos: Mapping[str, Any],
    ) -> StepLog:
        """From the rollout, and the rewards and `infos` that the environment's step returned for it."""
        rewards_PG = np.asarray(rewards_N, np.float32).reshape(-1, rollout.group_size)
        return cls(
            _metrics(rollout, rewards_PG, infos),
            _samples(queries_N, rewrites_N, rewards_N, infos),
            _histograms(rollout, rewards_PG),
        )


def _metrics(rollout: Rollout, rewards_PG: npt.NDArray[np.float32], infos: Mapping[str, Any]) -> dict[str, float]:
    judged_P = (group[~np.isnan(group)] for group in rewards_PG)
    # A kept query has reward 0 without a verdict; counted, kept queries would hide a judge that is down.
    kept_N = np.asarray(infos["feedback"].kept, np.bool_)
    metrics = {
        "reward": _nanmean(rewards_PG),
        "reward_std": _nanmean(np.array([group.std() for group in judged_P if len(group)])),
        "completions/mean_length": rollout.mask_NT.sum(dim=1).mean().item(),
        "judge/failed_fraction": _nanmean(np.isnan(rewards_PG).ravel()[~kept_N]) if not kept_N.all() else 0.0,
        "keep_fraction": float(kept_N.mean()),
        "weights/malformed": _nanmean(infos["feedback"].malformed_weights),
        "weights/clipped": _nanmean(infos["feedback"].clipped_weights),
    }
    terms = {f"reward/{name}": _nanmean(values) for name, values in infos["reward_terms"].items() if name != "total"}
    return metrics | terms


def _nanmean(values: npt.ArrayLike) -> float:
    values = np.asarray(values)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _samples(
    queries_N: Sequence[str],
    rewrites_N: Sequence[str],
    rewards_N: npt.NDArray[np.floating],
    infos: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Rewrites at equal distances in the batch, with the first products before and after."""
    picks = np.linspace(0, len(rewrites_N) - 1, SAMPLES_PER_STEP).astype(int)
    before = _top_products(infos["hits_before"], infos["grades_before"], picks)
    after = _top_products(infos["hits_after"], infos["grades_after"], picks)
    return [
        {
            "query": queries_N[n],
            "rewrite": rewrites_N[n],
            "reward": float(rewards_N[n]),
            "hits_before": before[at],
            "hits_after": after[at],
        }
        for at, n in enumerate(picks.tolist())
    ]


def _top_products(hits: Hits, grades: Grades, picks: npt.NDArray[np.int_]) -> list[list[tuple[int, int]]]:
    """(product row, most likely level) of the first products of some result lists, best first."""
    levels_NK = likely_levels(Grades(grades.probs_NK4[picks]), PRODUCTS_PER_SAMPLE)
    lists = zip(hits.rows_NK[picks, :PRODUCTS_PER_SAMPLE].tolist(), levels_NK.tolist(), strict=True)
    return [[pair for pair in zip(rows, levels, strict=True) if pair[0] >= 0] for rows, levels in lists]


def _histograms(rollout: Rollout, rewards_PG: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    advantages_PG = group_advantages(torch.as_tensor(rewards_PG), normalize_std=False)
    return {
        "reward": rewards_PG.flatten(),
        "advantage": advantages_PG.flatten().numpy(),
        "completions/length": rollout.mask_NT.sum(dim=1).float().cpu().numpy(),
    }
