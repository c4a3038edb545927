"""Losses of online learning: pure functions of tensors, one formula each, checked against TRL and float64 loops.

Shapes: N sequences (P queries × G rewrites, a query's group in one block), T completion tokens. A mask is 1 on tokens
that count; what stands elsewhere is finite and ignored.
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

    A = r − mean(r), divided by std(r) + eps if asked (Shao et al. 2024, GRPO, eq. 3; without std: Dr. GRPO, Liu et
    al. 2025). leave_one_out: A = r − mean of the *other* rewards, unbiased (RLOO, Kool et al. 2019; Ahmadian et al.
    2024, eq. 8), which is n/(n − 1) times the first. A missing reward (NaN) takes no part in the mean and has
    advantage 0: it neither teaches nor counts.
    """
    known_P_G = ~torch.isnan(rewards_P_G)
    count_P = known_P_G.sum(dim=1, keepdim=True).clamp(min=1)
    rewards_P_G = torch.where(known_P_G, rewards_P_G, 0.0)
    centred_P_G = torch.where(known_P_G, rewards_P_G - rewards_P_G.sum(dim=1, keepdim=True) / count_P, 0.0)
    if leave_one_out:
        centred_P_G = centred_P_G * count_P / (count_P - 1).clamp(min=1)
    if not normalize_std:
        return centred_P_G
    # The sample deviation (n − 1), as torch.std and TRL have it.
    variance_P = centred_P_G.square().sum(dim=1, keepdim=True) / (count_P - 1).clamp(min=1)
    return centred_P_G / (variance_P.sqrt() + eps)


def zero_variance_groups(rewards_P_G: Tensor, tolerance: float = TIE) -> Tensor:
    """(P,) bool: groups in which all known rewards are equal, or fewer than two are known: nothing to learn."""
    known_P_G = ~torch.isnan(rewards_P_G)
    high_P = torch.where(known_P_G, rewards_P_G, -torch.inf).amax(dim=1)
    low_P = torch.where(known_P_G, rewards_P_G, torch.inf).amin(dim=1)
    return (known_P_G.sum(dim=1) < 2) | (high_P - low_P <= tolerance)


def beats(rewards_P_C: Tensor, margin: float = 0.0) -> Tensor:
    """(P, C, C) bool: [p, i, j] is True where query p's rewrite i earns more than its rewrite j.

    More by at least `margin`, and never by less than `TIE`. A missing reward (NaN) neither wins nor loses.
    """
    return rewards_P_C[:, :, None] - rewards_P_C[:, None, :] >= max(margin, TIE)


def best_against_worst(rewards_P_C: Tensor) -> Tensor:
    """(P, C, C) bool: [p, i, j] is True where rewrite i earns query p's best reward and rewrite j its worst.

    Several rewrites that share the best or the worst all count: which came first means nothing.
    """
    missing_P_C = torch.isnan(rewards_P_C)
    best_P_1 = rewards_P_C.masked_fill(missing_P_C, -torch.inf).amax(dim=1, keepdim=True)
    worst_P_1 = rewards_P_C.masked_fill(missing_P_C, torch.inf).amin(dim=1, keepdim=True)
    return (best_P_1 - rewards_P_C < TIE)[:, :, None] & (rewards_P_C - worst_P_1 < TIE)[:, None, :]


def aggregate(values_N_T: Tensor, mask_N_T: Tensor, how: Aggregation, constant: int = 0) -> Tensor:
    """One number from per-token values: how much a token counts.

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
    """log ρ of policy and sampling policy, (N, T): a token's own, or one a sequence, the mean over its tokens, whose
    exponential is the length-normalised ratio of GSPO (Zheng et al. 2025, eq. 7). Gradients flow through every token.
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

    A_t = Σ_k (γλ)^k δ_{t+k}, δ_t = r_t + γ V_{t+1} − V_t (Schulman et al. 2016, GAE, eq. 16). rewards: paid at any
    token, so that each turn of an episode earns its own. values: V_t, of the state before token t; after a row's last
    token it is 0. mask: 1 on the first tokens of a row, 0 behind them.
    """
    rewards_N_T, values_N_T = rewards_N_T * mask_N_T, values_N_T * mask_N_T
    following_N_T = torch.nn.functional.pad(values_N_T[:, 1:], (0, 1))
    deltas_N_T = rewards_N_T + gamma * following_N_T - values_N_T
    # The recursion as one product: its matrix holds (γλ)^(s−t) for s ≥ t. Rewrites are short.
    steps_T = torch.arange(rewards_N_T.shape[1], device=rewards_N_T.device)
    ahead_T_T = steps_T[:, None] - steps_T[None, :]
    powers_T_T = (gamma * gae_lambda) ** ahead_T_T.clamp(min=0).to(deltas_N_T.dtype)
    decay_T_T = torch.where(ahead_T_T >= 0, powers_T_T, 0.0)
    advantages_N_T = (deltas_N_T @ decay_T_T) * mask_N_T
    return advantages_N_T, advantages_N_T + values_N_T


def whiten(values_N_T: Tensor, mask_N_T: Tensor, eps: float = 1e-8) -> Tensor:
    """Mean 0 and deviation 1 over the tokens that count, 0 elsewhere."""
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
    """The next price of KL: up when the last update's was above the target, down when below.

    β ← β (1 + gain · clip(KL / target − 1, −0.2, 0.2)) (Ziegler et al. 2019, section 2.2).
    """
    return coef * (1.0 + gain * min(max(kl / target - 1.0, -0.2), 0.2))


def preference_loss(chosen_M: Tensor, rejected_M: Tensor, beta: float, target: float = 0.0) -> Tensor:
    """−log σ(β (chosen − rejected) − target) of M pairs, (M,).

    DPO (Rafailov et al. 2023, eq. 7) where the scores are a rewrite's log π(y|x) − log π_ref(y|x); SimPO (Meng et al.
    2024, eq. 6, `target` its γ) where they are the mean log-probability a token, without a reference.
    """
    return -torch.nn.functional.logsigmoid(beta * (chosen_M - rejected_M) - target)


def pro_loss(p_P_C: Tensor, r_P_C: Tensor, mask_P_C: Tensor) -> Tensor:
    """Listwise preference ranking (PRO, Song et al. 2023, arXiv 2306.17492) as BEQUE uses it (arXiv 2311.03758).

    Of one list, best first: −Σ_k log( exp(p_k / T_k^k) / Σ_{i ≥ k} exp(p_i / T_k^i) ), T_k^i = 1 / (r_k − r_i) and
    T_k^k = min_{i > k} T_k^i. Rewrites that earn the same as rewrite k are no opponents of it: they are dropped from
    its denominator, and a rewrite without an opponent has no term. Multiplied by differences of rewards, never divided,
    so nothing overflows where two rewards almost meet.

    Args:
        p_P_C: length-normalised log-probabilities, in any order.
        r_P_C: rewards; NaN takes no part.
        mask_P_C: 1 where there is a candidate.

    Returns:
        the mean over the lists that have two different rewards; 0 without any.
    """
    known_P_C = mask_P_C.bool() & ~torch.isnan(r_P_C)
    r_P_C, p_P_C = r_P_C.masked_fill(~known_P_C, torch.nan), p_P_C.masked_fill(~known_P_C, 0.0)
    below_P_C_C = beats(r_P_C)
    # 1 / T_k^i, and 1 / T_k^k = its maximum.
    gaps_P_C_C = torch.where(below_P_C_C, r_P_C[:, :, None] - r_P_C[:, None, :], 0.0)
    own_P_C = p_P_C * gaps_P_C_C.amax(dim=2)
    opponents_P_C_C = (p_P_C[:, None, :] * gaps_P_C_C).masked_fill(~below_P_C_C, -torch.inf)
    everyone_P_C = torch.cat([own_P_C[:, :, None], opponents_P_C_C], dim=2).logsumexp(dim=2)
    lists = below_P_C_C.any(dim=(1, 2)).sum().clamp(min=1)
    return (everyone_P_C - own_P_C).sum() / lists


def generalized_jsd(student_M_V: Tensor, teacher_M_V: Tensor, beta: float) -> Tensor:
    """Divergence of two next-token distributions at each of M positions, (M,), nats; Agarwal et al. 2024 (GKD), eq. 4.

    beta 1: KL(student ‖ teacher), the reverse one, which picks a mode. beta 0: KL(teacher ‖ student), forward, which
    covers all. Between: β KL(teacher ‖ m) + (1 − β) KL(student ‖ m) with m = β teacher + (1 − β) student, as in TRL.

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


def with_rest(logprobs_M_K: Tensor) -> Tensor:
    """Log-probabilities of K tokens, and of all others together, (M, K + 1): the distribution that a server's top K
    leave. A divergence of two such is a lower bound of the whole one's."""
    rest_M_1 = 1.0 - logprobs_M_K.exp().sum(dim=1, keepdim=True)
    return torch.cat([logprobs_M_K, rest_M_1.clamp(min=1e-6).log()], dim=1)
