"""Losses of online learning: pure functions of tensors, one formula each, checked against TRL and float64 loops.

Shapes: N sequences (P queries × G rewrites, a query's group in one block), T completion tokens.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token", "sequence", "constant"]


def group_advantages(rewards_P_G: Tensor, normalize_std: bool = False, eps: float = 1e-4) -> Tensor:
    """Advantage of each rewrite within its query's group, (P, G).

    A = r − mean(r), divided by std(r) + eps if asked (Shao et al. 2024, GRPO, eq. 3; without std: Dr. GRPO, Liu et
    al. 2025). A missing reward (NaN) takes no part in the mean and has advantage 0: it neither teaches nor counts.
    """
    known_P_G = ~torch.isnan(rewards_P_G)
    count_P = known_P_G.sum(dim=1, keepdim=True).clamp(min=1)
    rewards_P_G = torch.where(known_P_G, rewards_P_G, 0.0)
    centred_P_G = torch.where(known_P_G, rewards_P_G - rewards_P_G.sum(dim=1, keepdim=True) / count_P, 0.0)
    if not normalize_std:
        return centred_P_G
    # The sample deviation (n − 1), as torch.std and TRL have it.
    variance_P = centred_P_G.square().sum(dim=1, keepdim=True) / (count_P - 1).clamp(min=1)
    return centred_P_G / (variance_P.sqrt() + eps)


def zero_variance_groups(rewards_P_G: Tensor, tolerance: float = 1e-6) -> Tensor:
    """(P,) bool: groups in which all known rewards are equal, or fewer than two are known: nothing to learn."""
    known_P_G = ~torch.isnan(rewards_P_G)
    high_P = torch.where(known_P_G, rewards_P_G, -torch.inf).amax(dim=1)
    low_P = torch.where(known_P_G, rewards_P_G, torch.inf).amin(dim=1)
    return (known_P_G.sum(dim=1) < 2) | (high_P - low_P <= tolerance)


def aggregate(values_N_T: Tensor, mask_N_T: Tensor, how: Aggregation, constant: int = 0) -> Tensor:
    """One number from per-token values: how much a token counts.

    "token": mean over all tokens of the batch (DAPO, Yu et al. 2025). "sequence": mean over each sequence, then over
    sequences (GRPO as published). "constant": sum over tokens / (N × constant), no length bias (Dr. GRPO).
    """
    masked_N_T = values_N_T * mask_N_T
    if how == "token":
        return masked_N_T.sum() / mask_N_T.sum().clamp(min=1.0)
    if how == "sequence":
        return (masked_N_T.sum(dim=1) / mask_N_T.sum(dim=1).clamp(min=1.0)).mean()
    return masked_N_T.sum() / (len(values_N_T) * max(constant, 1))


def clipped_policy_loss(
    logprobs_N_T: Tensor,
    old_logprobs_N_T: Tensor,
    advantages_N: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """Per-token clipped surrogate −min(ρA, clip(ρ, 1−low, 1+high)A), and where the clip was active, both (N, T).

    Schulman et al. 2017 (PPO, eq. 7); clip_high > clip_low is DAPO's clip-higher.
    """
    ratio_N_T = torch.exp(logprobs_N_T - old_logprobs_N_T)
    clipped_N_T = ratio_N_T.clamp(1.0 - clip_low, 1.0 + clip_high)
    advantages_N_1 = advantages_N[:, None]
    loss_N_T = -torch.minimum(ratio_N_T * advantages_N_1, clipped_N_T * advantages_N_1)
    too_low_N_T = (ratio_N_T < 1.0 - clip_low) & (advantages_N_1 < 0)
    too_high_N_T = (ratio_N_T > 1.0 + clip_high) & (advantages_N_1 > 0)
    return loss_N_T, too_low_N_T | too_high_N_T


def kl_k3(logprobs_N_T: Tensor, ref_logprobs_N_T: Tensor) -> Tensor:
    """Per-token estimate of KL(policy ‖ reference), (N, T): e^d − d − 1 with d = ref − policy (Schulman's k3)."""
    difference_N_T = ref_logprobs_N_T - logprobs_N_T
    return torch.exp(difference_N_T) - difference_N_T - 1.0
