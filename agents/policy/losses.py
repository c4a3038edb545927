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
    rewards_PG: Tensor, normalize_std: bool = False, eps: float = 1e-4, leave_one_out: bool = False
) -> Tensor:
    """Advantage of each rewrite within its query's group, (P, G).

    A = r − mean(r), divided by std(r) + eps if `normalize_std` (Shao et al. 2024, GRPO, eq. 3; without std: Dr. GRPO,
    Liu et al. 2025). leave_one_out: A = r − mean of the *other* rewards, unbiased (RLOO, Kool et al. 2019; Ahmadian et
    al. 2024, eq. 8), which is n/(n − 1) times the first. A missing reward (NaN) is left out of the mean and has
    advantage 0.
    """
    known_PG = ~torch.isnan(rewards_PG)
    count_P = known_PG.sum(dim=1, keepdim=True).clamp(min=1)
    rewards_PG = torch.where(known_PG, rewards_PG, 0.0)
    centred_PG = torch.where(known_PG, rewards_PG - rewards_PG.sum(dim=1, keepdim=True) / count_P, 0.0)
    if leave_one_out:
        centred_PG = centred_PG * count_P / (count_P - 1).clamp(min=1)
    if not normalize_std:
        return centred_PG
    # The sample standard deviation (n − 1), as in torch.std and TRL.
    variance_P = centred_PG.square().sum(dim=1, keepdim=True) / (count_P - 1).clamp(min=1)
    return centred_PG / (variance_P.sqrt() + eps)


def zero_variance_groups(rewards_PG: Tensor, tolerance: float = TIE) -> Tensor:
    """(P,) bool: groups whose known rewards are all equal, or that have fewer than two: without a gradient."""
    known_PG = ~torch.isnan(rewards_PG)
    high_P = torch.where(known_PG, rewards_PG, -torch.inf).amax(dim=1)
    low_P = torch.where(known_PG, rewards_PG, torch.inf).amin(dim=1)
    return (known_PG.sum(dim=1) < 2) | (high_P - low_P <= tolerance)


def pairwise_wins(rewards_PG: Tensor, margin: float = 0.0) -> Tensor:
    """(P, G, G) bool: [p, i, j] is True where the reward of query p's rewrite i exceeds that of its rewrite j.

    The difference must be at least `margin` and at least `TIE`. A missing reward (NaN) is in no pair.
    """
    return rewards_PG[:, :, None] - rewards_PG[:, None, :] >= max(margin, TIE)


def best_against_worst(rewards_PG: Tensor) -> Tensor:
    """(P, G, G) bool: [p, i, j] is True where rewrite i has query p's best reward and rewrite j its worst.

    All rewrites that share the best or the worst reward are marked: their order has no meaning.
    """
    missing_PG = torch.isnan(rewards_PG)
    best_P1 = rewards_PG.masked_fill(missing_PG, -torch.inf).amax(dim=1, keepdim=True)
    worst_P1 = rewards_PG.masked_fill(missing_PG, torch.inf).amin(dim=1, keepdim=True)
    return (best_P1 - rewards_PG < TIE)[:, :, None] & (rewards_PG - worst_P1 < TIE)[:, None, :]


def aggregate(values_NT: Tensor, mask_NT: Tensor, how: Aggregation, constant: int = 0) -> Tensor:
    """One number from per-token values; `how` sets the weight of a token.

    "token": mean over all tokens of the batch (DAPO, Yu et al. 2025). "sequence": mean over each sequence, then over
    sequences (GRPO as published). "constant": sum over tokens / (N × constant), no length bias (Dr. GRPO). A sequence
    whose tokens are all masked is not counted.
    """
    masked_NT = values_NT * mask_NT
    if how == "token":
        return masked_NT.sum() / mask_NT.sum().clamp(min=1.0)
    sequences = count_sequences(mask_NT).clamp(min=1.0)
    if how == "sequence":
        return (masked_NT.sum(dim=1) / mask_NT.sum(dim=1).clamp(min=1.0)).sum() / sequences
    return masked_NT.sum() / (sequences * max(constant, 1))


def count_sequences(mask_NT: Tensor) -> Tensor:
    """Number of sequences with at least one unmasked token."""
    return (mask_NT > 0).any(dim=1).sum().to(mask_NT.dtype)


def log_ratios(logprobs_NT: Tensor, old_logprobs_NT: Tensor, mask_NT: Tensor, level: RatioLevel = "token") -> Tensor:
    """Logarithm of the probability ratio ρ of policy and sampling policy, (N, T).

    "token": each token's own. "sequence": the mean over the sequence's tokens, whose exponential is the
    length-normalized ratio of GSPO (Zheng et al. 2025, eq. 7). Gradients flow through every token.
    """
    difference_NT = (logprobs_NT - old_logprobs_NT) * mask_NT
    if level == "token":
        return difference_NT
    mean_N1 = difference_NT.sum(dim=1, keepdim=True) / mask_NT.sum(dim=1, keepdim=True).clamp(min=1.0)
    return mean_N1.expand_as(difference_NT)


def clipped_policy_loss(
    log_ratios_NT: Tensor, advantages_NT: Tensor, clip_low: float = 0.2, clip_high: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Per-token clipped surrogate −min(ρA, clip(ρ, 1−low, 1+high)A), and where the clip was active, both (N, T).

    Schulman et al. 2017 (PPO, eq. 7); clip_high > clip_low is DAPO's clip-higher. advantages: (N, T), or (N, 1) for
    one a sequence.
    """
    ratio_NT = torch.exp(log_ratios_NT)
    clipped_NT = ratio_NT.clamp(1.0 - clip_low, 1.0 + clip_high)
    loss_NT = -torch.minimum(ratio_NT * advantages_NT, clipped_NT * advantages_NT)
    too_low_NT = (ratio_NT < 1.0 - clip_low) & (advantages_NT < 0)
    too_high_NT = (ratio_NT > 1.0 + clip_high) & (advantages_NT > 0)
    return loss_NT, too_low_NT | too_high_NT


def kl_k3(logprobs_NT: Tensor, ref_logprobs_NT: Tensor) -> Tensor:
    """Per-token estimate of KL(policy ‖ reference), (N, T): e^d − d − 1 with d = ref − policy (Schulman's k3)."""
    difference_NT = ref_logprobs_NT - logprobs_NT
    return torch.exp(difference_NT) - difference_NT - 1.0


def generalized_advantages(
    rewards_NT: Tensor, values_NT: Tensor, mask_NT: Tensor, gamma: float = 1.0, gae_lambda: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Advantages and value targets (advantage + value) of every token, both (N, T), 0 where masked.

    A_t = Σ_k (γλ)^k δ_{t+k}, δ_t = r_t + γ V_{t+1} − V_t (Schulman et al. 2016, GAE, eq. 16). rewards: at any
    token. values: V_t, of the state before token t; after a row's last token it is 0. mask: 1 on the first tokens of a
    row, 0 after them.
    """
    rewards_NT, values_NT = rewards_NT * mask_NT, values_NT * mask_NT
    following_NT = torch.nn.functional.pad(values_NT[:, 1:], (0, 1))
    deltas_NT = rewards_NT + gamma * following_NT - values_NT
    # The recursion as one matrix product: the matrix holds (γλ)^(s−t) for s ≥ t. T is small: rewrites are short.
    steps_T = torch.arange(rewards_NT.shape[1], device=rewards_NT.device)
    offset_TT = steps_T[:, None] - steps_T[None, :]
    powers_TT = (gamma * gae_lambda) ** offset_TT.clamp(min=0).to(deltas_NT.dtype)
    decay_TT = torch.where(offset_TT >= 0, powers_TT, 0.0)
    advantages_NT = (deltas_NT @ decay_TT) * mask_NT
    return advantages_NT, advantages_NT + values_NT


def whiten(values_NT: Tensor, mask_NT: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale to mean 0 and standard deviation 1 over the unmasked tokens; 0 elsewhere."""
    count = mask_NT.sum().clamp(min=1.0)
    centred_NT = (values_NT - (values_NT * mask_NT).sum() / count) * mask_NT
    return centred_NT / (centred_NT.square().sum() / count + eps).sqrt()


def clipped_value_loss(
    values_NT: Tensor, old_values_NT: Tensor, returns_NT: Tensor, clip: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Per-token ½ max((V − R)², (clip(V, V_old ± clip) − R)²), and where the clip was active, both (N, T).

    As in the published PPO code (Huang et al. 2022, "The 37 implementation details of PPO", detail 9).
    """
    near_NT = old_values_NT + (values_NT - old_values_NT).clamp(-clip, clip)
    plain_NT, clipped_NT = (values_NT - returns_NT).square(), (near_NT - returns_NT).square()
    return 0.5 * torch.maximum(plain_NT, clipped_NT), clipped_NT > plain_NT


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


def pro_loss(p_PG: Tensor, r_PG: Tensor, mask_PG: Tensor) -> Tensor:
    """Listwise preference ranking (PRO, Song et al. 2023, arXiv 2306.17492) as BEQUE uses it (arXiv 2311.03758).

    Of one list, best first: −Σ_k log( exp(p_k / T_k^k) / Σ_{i ≥ k} exp(p_i / T_k^i) ), T_k^i = 1 / (r_k − r_i) and
    T_k^k = min_{i > k} T_k^i. Rewrites whose reward equals that of rewrite k are left out of
    its denominator, and a rewrite with an empty denominator has no term. The code multiplies by differences of rewards
    and never divides, so that nothing overflows where two rewards are almost equal.

    Args:
        p_PG: length-normalized log-probabilities of each query's G rewrites, in any order.
        r_PG: rewards; a NaN is left out.
        mask_PG: 1 where there is a rewrite, 0 on padding.

    Returns:
        The mean over the lists that have two different rewards; 0 if there is none.
    """
    known_PG = mask_PG.bool() & ~torch.isnan(r_PG)
    r_PG, p_PG = r_PG.masked_fill(~known_PG, torch.nan), p_PG.masked_fill(~known_PG, 0.0)
    below_PGG = pairwise_wins(r_PG)
    # 1 / T_k^i, and 1 / T_k^k = its maximum.
    gaps_PGG = torch.where(below_PGG, r_PG[:, :, None] - r_PG[:, None, :], 0.0)
    own_PG = p_PG * gaps_PGG.amax(dim=2)
    opponents_PGG = (p_PG[:, None, :] * gaps_PGG).masked_fill(~below_PGG, -torch.inf)
    denominator_PG = torch.cat([own_PG[:, :, None], opponents_PGG], dim=2).logsumexp(dim=2)
    lists = below_PGG.any(dim=(1, 2)).sum().clamp(min=1)
    return (denominator_PG - own_PG).sum() / lists


def generalized_jsd(student_MV: Tensor, teacher_MV: Tensor, beta: float) -> Tensor:
    """Divergence of two next-token distributions at each of M positions, (M,), nats; Agarwal et al. 2024 (GKD), eq. 4.

    beta 1: KL(student ‖ teacher), reverse, mode-seeking. beta 0: KL(teacher ‖ student), forward, mass-covering.
    Between: β KL(teacher ‖ m) + (1 − β) KL(student ‖ m) with m = β teacher + (1 − β) student, as in TRL.

    Args:
        student_MV, teacher_MV: log-probabilities over the same V outcomes, finite.
    """
    if beta == 1.0:
        return _kl(student_MV, teacher_MV)
    if beta == 0.0:
        return _kl(teacher_MV, student_MV)
    mixed_MV = torch.logaddexp(student_MV + math.log1p(-beta), teacher_MV + math.log(beta))
    return beta * _kl(teacher_MV, mixed_MV) + (1.0 - beta) * _kl(student_MV, mixed_MV)


def _kl(p_MV: Tensor, q_MV: Tensor) -> Tensor:
    """KL(p ‖ q) of log-probabilities, (M,)."""
    return (p_MV.exp() * (p_MV - q_MV)).sum(dim=1)


def with_remainder(logprobs_MV: Tensor) -> Tensor:
    """Append the log-probability of all tokens that are not among the V given ones, (M, V + 1).

    For the most probable tokens that a server returns. The divergence of two such distributions is a lower bound of the
    divergence over the whole vocabulary.
    """
    rest_M1 = 1.0 - logprobs_MV.exp().sum(dim=1, keepdim=True)
    return torch.cat([logprobs_MV, rest_M1.clamp(min=1e-6).log()], dim=1)
