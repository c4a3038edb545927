"""Losses of online learning: pure functions of tensors, one formula each, tested against TRL and float64 loops.

Shapes: N sequences (P queries × G rewrites, the G rewrites of a query in one block), T completion tokens, M pairs,
positions or tokens, V outcomes of a distribution. A mask is 1 on tokens that count; other values must be finite and are
ignored.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token", "sequence", "constant"]
RatioLevel = Literal["token", "sequence"]
TIE = 1e-6  # rewards closer than this are the same


def group_advantages(
    rewards_P_G: Tensor, normalize_std: bool = False, eps: float = 1e-4, leave_one_out: bool = False
) -> Tensor:
    """Advantage of each rewrite within its query's group, (P, G).

    A = r − mean(r), divided by std(r) + eps if `normalize_std` (Shao et al. 2024, GRPO, eq. 3; without std: Dr. GRPO,
    Liu et al. 2025). leave_one_out: A = r − mean of the *other* rewards, unbiased (RLOO, Kool et al. 2019; Ahmadian et
    al. 2024, eq. 8), which is n/(n − 1) times the first. A missing reward (NaN) is left out of the mean and has
    advantage 0.
    """
    known_P_G = ~torch.isnan(rewards_P_G)
    count_P = known_P_G.sum(dim=1, keepdim=True).clamp(min=1)
    rewards_P_G = torch.where(known_P_G, rewards_P_G, 0.0)
    centred_P_G = torch.where(known_P_G, rewards_P_G - rewards_P_G.sum(dim=1, keepdim=True) / count_P, 0.0)
    if leave_one_out:
        centred_P_G = centred_P_G * count_P / (count_P - 1).clamp(min=1)
    if not normalize_std:
        return centred_P_G
    # The sample standard deviation (n − 1), as in torch.std and TRL.
    variance_P = centred_P_G.square().sum(dim=1, keepdim=True) / (count_P - 1).clamp(min=1)
    return centred_P_G / (variance_P.sqrt() + eps)


def zero_variance_groups(rewards_P_G: Tensor, tolerance: float = TIE) -> Tensor:
    """(P,) bool: groups whose known rewards are all equal, or that have fewer than two: without a gradient."""
    known_P_G = ~torch.isnan(rewards_P_G)
    high_P = torch.where(known_P_G, rewards_P_G, -torch.inf).amax(dim=1)
    low_P = torch.where(known_P_G, rewards_P_G, torch.inf).amin(dim=1)
    return (known_P_G.sum(dim=1) < 2) | (high_P - low_P <= tolerance)


def pairwise_wins(rewards_P_G: Tensor, margin: float = 0.0) -> Tensor:
    """(P, G, G) bool: [p, i, j] is True where the reward of query p's rewrite i exceeds that of its rewrite j.

    The difference must be at least `margin` and at least `TIE`. A missing reward (NaN) is in no pair.
    """
    return rewards_P_G[:, :, None] - rewards_P_G[:, None, :] >= max(margin, TIE)


def best_against_worst(rewards_P_G: Tensor) -> Tensor:
    """(P, G, G) bool: [p, i, j] is True where rewrite i has query p's best reward and rewrite j its worst.

    All rewrites that share the best or the worst reward are marked: their order has no meaning.
    """
    missing_P_G = torch.isnan(rewards_P_G)
    best_P_1 = rewards_P_G.masked_fill(missing_P_G, -torch.inf).amax(dim=1, keepdim=True)
    worst_P_1 = rewards_P_G.masked_fill(missing_P_G, torch.inf).amin(dim=1, keepdim=True)
    return (best_P_1 - rewards_P_G < TIE)[:, :, None] & (rewards_P_G - worst_P_1 < TIE)[:, None, :]


def aggregate(values_N_T: Tensor, mask_N_T: Tensor, how: Aggregation, constant: int = 0) -> Tensor:
    """One number from per-token values; `how` sets the weight of a token.

    "token": mean over all tokens of the batch (DAPO, Yu et al. 2025). "sequence": mean over each sequence, then over
    sequences (GRPO as published). "constant": sum over tokens / (N × constant), no length bias (Dr. GRPO). A sequence
    whose tokens are all masked is not counted.
    """
    masked_N_T = values_N_T * mask_N_T
    if how == "token":
        return masked_N_T.sum() / mask_N_T.sum().clamp(min=1.0)
    sequences = count_sequences(mask_N_T).clamp(min=1.0)
    if how == "sequence":
        return (masked_N_T.sum(dim=1) / mask_N_T.sum(dim=1).clamp(min=1.0)).sum() / sequences
    return masked_N_T.sum() / (sequences * max(constant, 1))


def count_sequences(mask_N_T: Tensor) -> Tensor:
    """Number of sequences with at least one unmasked token."""
    return (mask_N_T > 0).any(dim=1).sum().to(mask_N_T.dtype)


def log_ratios(logprobs_N_T: Tensor, old_logprobs_N_T: Tensor, mask_N_T: Tensor, level: RatioLevel = "token") -> Tensor:
    """Logarithm of the probability ratio ρ of policy and sampling policy, (N, T).

    "token": each token's own. "sequence": the mean over the sequence's tokens, whose exponential is the
    length-normalized ratio of GSPO (Zheng et al. 2025, eq. 7). Gradients flow through every token.
    """
    difference_N_T = (logprobs_N_T - old_logprobs_N_T) * mask_N_T
    if level == "token":
        return difference_N_T
    mean_N_1 = difference_N_T.sum(dim=1, keepdim=True) / mask_N_T.sum(dim=1, keepdim=True).clamp(min=1.0)
    return mean_N_1.expand_as(difference_N_T)


def clipped_policy_loss(
    log_ratios_N_T: Tensor, advantages_N_T: Tensor, clip_low: float = 0.2, clip_high: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Per-token clipped surrogate −min(ρA, clip(ρ, 1−low, 1+high)A), and where the clip was active, both (N, T).

    Schulman et al. 2017 (PPO, eq. 7); clip_high > clip_low is DAPO's clip-higher. advantages: (N, T), or (N, 1) for
    one a sequence.
    """
    ratio_N_T = torch.exp(log_ratios_N_T)
    clipped_N_T = ratio_N_T.clamp(1.0 - clip_low, 1.0 + clip_high)
    loss_N_T = -torch.minimum(ratio_N_T * advantages_N_T, clipped_N_T * advantages_N_T)
    too_low_N_T = (ratio_N_T < 1.0 - clip_low) & (advantages_N_T < 0)
    too_high_N_T = (ratio_N_T > 1.0 + clip_high) & (advantages_N_T > 0)
    return loss_N_T, too_low_N_T | too_high_N_T


def kl_k3(logprobs_N_T: Tensor, ref_logprobs_N_T: Tensor) -> Tensor:
    """Per-token estimate of KL(policy ‖ reference), (N, T): e^d − d − 1 with d = ref − policy (Schulman's k3)."""
    difference_N_T = ref_logprobs_N_T - logprobs_N_T
    return torch.exp(difference_N_T) - difference_N_T - 1.0


def generalized_advantages(
    rewards_N_T: Tensor, values_N_T: Tensor, mask_N_T: Tensor, gamma: float = 1.0, gae_lambda: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Advantages and value targets (advantage + value) of every token, both (N, T), 0 where masked.

    A_t = Σ_k (γλ)^k δ_{t+k}, δ_t = r_t + γ V_{t+1} − V_t (Schulman et al. 2016, GAE, eq. 16). rewards: at any
    token. values: V_t, of the state before token t; after a row's last token it is 0. mask: 1 on the first tokens of a
    row, 0 after them.
    """
    rewards_N_T, values_N_T = rewards_N_T * mask_N_T, values_N_T * mask_N_T
    following_N_T = torch.nn.functional.pad(values_N_T[:, 1:], (0, 1))
    deltas_N_T = rewards_N_T + gamma * following_N_T - values_N_T
    # The recursion as one matrix product: the matrix holds (γλ)^(s−t) for s ≥ t. T is small: rewrites are short.
    steps_T = torch.arange(rewards_N_T.shape[1], device=rewards_N_T.device)
    offset_T_T = steps_T[:, None] - steps_T[None, :]
    powers_T_T = (gamma * gae_lambda) ** offset_T_T.clamp(min=0).to(deltas_N_T.dtype)
    decay_T_T = torch.where(offset_T_T >= 0, powers_T_T, 0.0)
    advantages_N_T = (deltas_N_T @ decay_T_T) * mask_N_T
    return advantages_N_T, advantages_N_T + values_N_T


def whiten(values_N_T: Tensor, mask_N_T: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale to mean 0 and standard deviation 1 over the unmasked tokens; 0 elsewhere."""
    count = mask_N_T.sum().clamp(min=1.0)
    centred_N_T = (values_N_T - (values_N_T * mask_N_T).sum() / count) * mask_N_T
    return centred_N_T / (centred_N_T.square().sum() / count + eps).sqrt()


def clipped_value_loss(
    values_N_T: Tensor, old_values_N_T: Tensor, returns_N_T: Tensor, clip: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Per-token ½ max((V − R)², (clip(V, V_old ± clip) − R)²), and where the clip was active, both (N, T).

    As in the published PPO code (Huang et al. 2022, "The 37 implementation details of PPO", detail 9).
    """
    near_N_T = old_values_N_T + (values_N_T - old_values_N_T).clamp(-clip, clip)
    plain_N_T, clipped_N_T = (values_N_T - returns_N_T).square(), (near_N_T - returns_N_T).square()
    return 0.5 * torch.maximum(plain_N_T, clipped_N_T), clipped_N_T > plain_N_T


def adapted_kl_coef(coef: float, kl: float, target: float, gain: float = 0.1) -> float:
    """The next KL coefficient: raised when the last update's KL was above the target, lowered when below.

    β ← β (1 + gain · clip(KL / target − 1, −0.2, 0.2)) (Ziegler et al. 2019, section 2.2).
    """
    return coef * (1.0 + gain * min(max(kl / target - 1.0, -0.2), 0.2))


def preference_loss(chosen_M: Tensor, rejected_M: Tensor, beta: float, target: float = 0.0) -> Tensor:
    """−log σ(β (chosen − rejected) − target) of M pairs, (M,).

    DPO (Rafailov et al. 2023, eq. 7) where the scores are a rewrite's log π(y|x) − log π_ref(y|x); SimPO (Meng et al.
    2024, eq. 6, `target` its γ) where they are the mean log-probability a token, without a reference.
    """
    return -torch.nn.functional.logsigmoid(beta * (chosen_M - rejected_M) - target)


def pro_loss(p_P_G: Tensor, r_P_G: Tensor, mask_P_G: Tensor) -> Tensor:
    """Listwise preference ranking (PRO, Song et al. 2023, arXiv 2306.17492) as BEQUE uses it (arXiv 2311.03758).

    Of one list, best first: −Σ_k log( exp(p_k / T_k^k) / Σ_{i ≥ k} exp(p_i / T_k^i) ), T_k^i = 1 / (r_k − r_i) and
    T_k^k = min_{i > k} T_k^i. Rewrites whose reward equals that of rewrite k are left out of
    its denominator, and a rewrite with an empty denominator has no term. The code multiplies by differences of rewards
    and never divides, so that nothing overflows where two rewards are almost equal.

    Args:
        p_P_G: length-normalized log-probabilities of each query's G rewrites, in any order.
        r_P_G: rewards; a NaN is left out.
        mask_P_G: 1 where there is a rewrite, 0 on padding.

    Returns:
        The mean over the lists that have two different rewards; 0 if there is none.
    """
    known_P_G = mask_P_G.bool() & ~torch.isnan(r_P_G)
    r_P_G, p_P_G = r_P_G.masked_fill(~known_P_G, torch.nan), p_P_G.masked_fill(~known_P_G, 0.0)
    below_P_G_G = pairwise_wins(r_P_G)
    # 1 / T_k^i, and 1 / T_k^k = its maximum.
    gaps_P_G_G = torch.where(below_P_G_G, r_P_G[:, :, None] - r_P_G[:, None, :], 0.0)
    own_P_G = p_P_G * gaps_P_G_G.amax(dim=2)
    opponents_P_G_G = (p_P_G[:, None, :] * gaps_P_G_G).masked_fill(~below_P_G_G, -torch.inf)
    denominator_P_G = torch.cat([own_P_G[:, :, None], opponents_P_G_G], dim=2).logsumexp(dim=2)
    lists = below_P_G_G.any(dim=(1, 2)).sum().clamp(min=1)
    return (denominator_P_G - own_P_G).sum() / lists


def generalized_jsd(student_M_V: Tensor, teacher_M_V: Tensor, beta: float) -> Tensor:
    """Divergence of two next-token distributions at each of M positions, (M,), nats; Agarwal et al. 2024 (GKD), eq. 4.

    beta 1: KL(student ‖ teacher), reverse, mode-seeking. beta 0: KL(teacher ‖ student), forward, mass-covering.
    Between: β KL(teacher ‖ m) + (1 − β) KL(student ‖ m) with m = β teacher + (1 − β) student, as in TRL.

    Args:
        student_M_V, teacher_M_V: log-probabilities over the same V outcomes, finite.
    """
    if beta == 1.0:
        return _kl(student_M_V, teacher_M_V)
    if beta == 0.0:
        return _kl(teacher_M_V, student_M_V)
    mixed_M_V = torch.logaddexp(student_M_V + math.log1p(-beta), teacher_M_V + math.log(beta))
    return beta * _kl(teacher_M_V, mixed_M_V) + (1.0 - beta) * _kl(student_M_V, mixed_M_V)


def _kl(p_M_V: Tensor, q_M_V: Tensor) -> Tensor:
    """KL(p ‖ q) of log-probabilities, (M,)."""
    return (p_M_V.exp() * (p_M_V - q_M_V)).sum(dim=1)


def with_remainder(logprobs_M_V: Tensor) -> Tensor:
    """Append the log-probability of all tokens that are not among the V given ones, (M, V + 1).

    For the most probable tokens that a server returns. The divergence of two such distributions is a lower bound of the
    divergence over the whole vocabulary.
    """
    rest_M_1 = 1.0 - logprobs_M_V.exp().sum(dim=1, keepdim=True)
    return torch.cat([logprobs_M_V, rest_M_1.clamp(min=1e-6).log()], dim=1)
