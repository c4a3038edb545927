"""Advantages and losses equal float64 loops, rlax's numbers, and TRL's GRPO on the same batch."""

import math

import numpy as np
import pytest
import torch

from agents.policy.losses import (
    TIE,
    adapted_kl_coef,
    aggregate,
    best_against_worst,
    clipped_policy_loss,
    clipped_value_loss,
    generalized_advantages,
    group_advantages,
    kl_k3,
    log_ratios,
    pairwise_wins,
    pro_loss,
    whiten,
    zero_variance_groups,
)
from agents.policy.rollout import Rollout
from agents.policy.scoring import score
from tests.helpers.models import small_model


def slow_advantages(rewards, normalize_std, eps=1e-4):
    out = []
    for group in rewards:
        known = [r for r in group if not math.isnan(r)]
        mean = sum(known) / len(known) if known else 0.0
        deviation = math.sqrt(sum((r - mean) ** 2 for r in known) / max(len(known) - 1, 1)) if known else 0.0
        scale = deviation + eps if normalize_std else 1.0
        out.append([0.0 if math.isnan(r) else (r - mean) / scale for r in group])
    return np.array(out)


def slow_leave_one_out(rewards):
    out = np.zeros((len(rewards), len(rewards[0])))
    for p, group in enumerate(rewards):
        for i, r in enumerate(group):
            others = [other for j, other in enumerate(group) if j != i and not math.isnan(other)]
            if not math.isnan(r) and others:
                out[p, i] = r - sum(others) / len(others)
    return out


@pytest.mark.parametrize("normalize_std", [False, True])
def test_advantages_equal_a_float64_loop(normalize_std):
    rewards = np.random.default_rng(0).normal(size=(50, 8))
    rewards[3, 2] = rewards[3, 5] = np.nan
    rewards[7] = np.nan
    ours = group_advantages(torch.tensor(rewards), normalize_std).numpy()
    np.testing.assert_allclose(ours, slow_advantages(rewards.tolist(), normalize_std), atol=1e-12)


def test_leave_one_out_advantages_equal_a_float64_loop():
    rewards = np.random.default_rng(1).normal(size=(40, 6))
    rewards[3, 2] = rewards[3, 5] = np.nan
    rewards[4, 1:] = np.nan
    rewards[7] = np.nan
    ours = group_advantages(torch.tensor(rewards), leave_one_out=True).numpy()
    np.testing.assert_allclose(ours, slow_leave_one_out(rewards.tolist()), atol=1e-12)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_clipped_loss_of_token_and_sequence_ratios_equals_a_float64_loop(level):
    generator = torch.Generator().manual_seed(0)
    n, t = 12, 6
    new, old = torch.randn((2, n, t), generator=generator, dtype=torch.float64) * 0.5
    lengths = torch.randint(0, t + 1, (n,), generator=generator)
    mask = (torch.arange(t) < lengths[:, None]).double()
    advantages = torch.randn(n, generator=generator, dtype=torch.float64)
    ours, clipped = clipped_policy_loss(log_ratios(new, old, mask, level), advantages[:, None], 0.1, 0.3)
    for i in range(n):
        length = int(lengths[i])
        for j in range(length):
            own = [(new[i, k] - old[i, k]).item() for k in range(length)]
            ratio = math.exp(own[j] if level == "token" else sum(own) / length)
            a = advantages[i].item()
            plain, limited = ratio * a, min(max(ratio, 0.9), 1.3) * a
            assert ours[i, j].item() == pytest.approx(-min(plain, limited), abs=1e-12)
            assert clipped[i, j].item() == (limited < plain)


def slow_gae(rewards, values, lengths, gamma, lam):
    advantages, returns = np.zeros_like(rewards), np.zeros_like(rewards)
    for i, length in enumerate(lengths):
        running = 0.0
        for t in reversed(range(length)):
            following = values[i, t + 1] if t + 1 < length else 0.0
            running = rewards[i, t] + gamma * following - values[i, t] + gamma * lam * running
            advantages[i, t], returns[i, t] = running, running + values[i, t]
    return advantages, returns


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 1.0), (0.99, 0.0), (1.0, 1.0)])
def test_advantages_of_tokens_equal_a_float64_loop(gamma, lam):
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 30, 8))
    lengths = rng.integers(0, 9, size=30)
    mask = torch.tensor(np.arange(8) < lengths[:, None]).double()
    ours = generalized_advantages(torch.tensor(rewards), torch.tensor(values), mask, gamma, lam)
    for mine, slow in zip(ours, slow_gae(rewards, values, lengths, gamma, lam), strict=True):
        np.testing.assert_allclose(mine.numpy(), slow, atol=1e-12)


@pytest.mark.parametrize(
    ("lam", "published"),
    [
        (1.0, [-1.45118, -4.4557, 2.5396, 0.5249, -0.49]),
        (0.7, [-0.676979, -5.248167, 2.4846, 0.6704, -0.49]),
        (0.4, [0.56731, -6.042, 2.3431, 0.815, -0.49]),
    ],
)
def test_advantages_of_tokens_equal_the_numbers_published_with_rlax(lam, published):
    """google-deepmind/rlax, multistep_test.py: five steps at discount 0.99, truncated where the value is −1.

    Our rows end in a terminal state, so the value after the truncation is part of the last reward.
    """
    rewards = torch.tensor([[0.0, 0.0, 1.0, 0.0, -0.5 + 0.99 * -1.0]])
    values = torch.tensor([[1.0, 4.0, -3.0, -2.0, -1.0]])
    ours, _ = generalized_advantages(rewards, values, torch.ones(1, 5), 0.99, lam)
    torch.testing.assert_close(ours, torch.tensor([published]), atol=1e-3, rtol=0)  # they are rounded


def test_a_reward_is_credited_only_to_the_tokens_before_it():
    rewards = torch.tensor([[0.0, 1.0, 0.0, 0.0]])  # the first of two turns ends with the second token
    advantages, _ = generalized_advantages(rewards, torch.zeros(1, 4), torch.ones(1, 4), 1.0, 1.0)
    assert advantages.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_clipped_value_loss_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    values, old, returns = torch.randn((3, 5, 7), generator=generator, dtype=torch.float64)
    ours, clipped = clipped_value_loss(values, old, returns, 0.3)
    for v, o, r, mine, was in zip(*(x.flatten().tolist() for x in (values, old, returns, ours, clipped)), strict=True):
        near = o + min(max(v - o, -0.3), 0.3)
        assert mine == pytest.approx(0.5 * max((v - r) ** 2, (near - r) ** 2), abs=1e-12)
        assert was == ((near - r) ** 2 > (v - r) ** 2)


def test_whitened_advantages_have_mean_0_and_deviation_1_where_unmasked():
    values, mask = torch.randn(6, 5).double() * 3 + 2, torch.ones(6, 5).double()
    mask[1:3, 2:] = 0
    white = whiten(values, mask)
    known = white[mask > 0].numpy()
    assert (white[mask == 0] == 0).all()
    assert known.mean() == pytest.approx(0, abs=1e-9)
    assert known.std() == pytest.approx(1, abs=1e-6)
    assert torch.equal(whiten(values, torch.zeros_like(mask)), torch.zeros_like(mask))


def test_the_kl_coefficient_moves_towards_its_target_by_a_bounded_step():
    assert adapted_kl_coef(0.1, 0.05, 0.05) == pytest.approx(0.1)
    assert adapted_kl_coef(0.1, 0.055, 0.05) == pytest.approx(0.1 * 1.01)
    assert adapted_kl_coef(0.1, 9.0, 0.05) == pytest.approx(0.1 * 1.02)
    assert adapted_kl_coef(0.1, 0.0, 0.05) == pytest.approx(0.1 * 0.98)


def test_a_missing_reward_has_advantage_0_and_does_not_change_the_others():
    with_gap = group_advantages(torch.tensor([[1.0, float("nan"), 0.0]]))
    assert with_gap[0, 1] == 0
    assert torch.equal(with_gap[0, [0, 2]], group_advantages(torch.tensor([[1.0, 0.0]]))[0])


def test_zero_variance_groups():
    nan = float("nan")
    rewards = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.9], [nan, nan, 1.0], [nan, 0.0, 1.0], [nan, nan, nan]])
    assert zero_variance_groups(rewards).tolist() == [True, False, True, False, True]


def test_aggregations_by_hand():
    values = torch.tensor([[1.0, 2.0, 9.0], [4.0, 9.0, 9.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert aggregate(values, mask, "token").item() == pytest.approx(7 / 3)
    assert aggregate(values, mask, "sequence").item() == pytest.approx((1.5 + 4) / 2)
    assert aggregate(values, mask, "constant", 3).item() == pytest.approx(7 / 6)


def test_kl_estimate_is_zero_at_the_reference_and_positive_elsewhere():
    logprobs = torch.randn(4, 5)
    assert torch.equal(kl_k3(logprobs, logprobs), torch.zeros(4, 5))
    assert (kl_k3(logprobs, logprobs + 0.5) > 0).all()


@pytest.mark.parametrize(
    ("trl_type", "ours", "level"),
    [
        ("grpo", "sequence", "token"),
        ("bnpo", "token", "token"),
        ("dr_grpo", "constant", "token"),
        ("grpo", "sequence", "sequence"),  # GSPO
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_loss_equals_trls_on_one_batch(trl_type, ours, level, tmp_path):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = small_model()
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")  # TRL loads the reference model from the policy's path
    model.config._name_or_path = str(tmp_path / "model")
    torch.manual_seed(0)
    n, prompt_length, length = 6, 5, 7
    prompt_mask = torch.ones(n, prompt_length, dtype=torch.long)
    prompt_mask[2:4, :2] = 0  # padded on the left
    prompts = torch.randint(5, 60, (n // 2, prompt_length)).repeat_interleave(2, dim=0)
    tokens = torch.randint(5, 60, (n, length))
    mask = (torch.arange(length) < torch.tensor([7, 3, 5, 1, 7, 2])[:, None]).float()
    old, ref = torch.randn(2, n, length).mul(0.1).sub(4.0)
    advantages = torch.randn(n)
    config = GRPOConfig(
        output_dir=str(tmp_path), loss_type=trl_type, beta=0.05, epsilon=0.2, epsilon_high=0.28, report_to="none",
        max_completion_length=length, per_device_train_batch_size=2, num_generations=2, temperature=1.0,
        use_bias_correction_kl=False, bf16=False, use_cpu=True, importance_sampling_level=level,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=model, args=config, processing_class=tokenizer, reward_funcs=lambda completions, **_: [0.0],
        train_dataset=Dataset.from_dict({"prompt": ["a", "b"]}),
    )  # fmt: skip
    trainer.model.eval()
    theirs = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": prompts, "prompt_mask": prompt_mask, "completion_ids": tokens,
            "completion_mask": mask.long(), "advantages": advantages, "old_per_token_logps": old,
            "ref_per_token_logps": ref, "num_items_in_batch": mask.sum(),
        },
    )  # fmt: skip
    batch = Rollout(prompts[::2], prompt_mask[::2], tokens, mask, old, group_size=2)
    logprobs = score(trainer.model, batch).logprobs_NT
    values, _ = clipped_policy_loss(log_ratios(logprobs, old, mask, level), advantages[:, None], 0.2, 0.28)
    mine = aggregate(values + 0.05 * kl_k3(logprobs, ref), mask, ours, length)
    assert mine.item() == pytest.approx(theirs.item(), abs=1e-5)


def slow_pro(p, r):
    """Candidates sorted best first, as in the paper: temperatures and a product of softmaxes, in float64."""
    total, lists = 0.0, 0
    for scores, rewards in zip(p, r, strict=True):
        pairs = sorted(((a, b) for a, b in zip(rewards, scores, strict=True) if not math.isnan(a)), reverse=True)
        before = total
        for k, (reward, own) in enumerate(pairs):
            worse = [(1.0 / (reward - other), score) for other, score in pairs[k + 1 :] if reward - other >= TIE]
            if worse:
                smallest = min(temperature for temperature, _ in worse)
                mine = math.exp(own / smallest)
                total -= math.log(mine / (mine + sum(math.exp(score / temperature) for temperature, score in worse)))
        lists += total != before
    return total / max(lists, 1)


def some_lists(seed=0, lists=40, candidates=5):
    rng = np.random.default_rng(seed)
    p, r = -rng.exponential(2.0, size=(lists, candidates)), rng.normal(size=(lists, candidates)).round(1)
    r[0, 1:] = np.nan  # one known reward: nothing to rank
    r[1] = 0.3  # all tie
    r[2] = [0.5, np.nan, 0.5, -0.2, np.nan]
    return torch.tensor(p), torch.tensor(r)


def test_pro_loss_equals_a_float64_loop():
    p, r = some_lists()
    assert (r[3:, :, None] == r[3:, None, :]).sum() > 37 * 5  # ties within lists
    ours = pro_loss(p, r, torch.ones_like(p))
    assert ours.item() == pytest.approx(slow_pro(p.tolist(), r.tolist()), abs=1e-9)
    assert pro_loss(p.float(), r.float(), torch.ones_like(p)).item() == pytest.approx(ours.item(), abs=1e-6)


def test_pro_loss_gradients():
    p, r = some_lists(lists=6)
    mask = torch.ones_like(p)
    mask[3, 2] = 0
    p.requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: pro_loss(scores, r, mask), p)
    pro_loss(p, r, mask).backward()
    assert (p.grad[0] == 0).all()  # one known reward
    assert (p.grad[1] == 0).all()  # ties
    assert p.grad[3, 2] == 0
    assert p.grad[2, 0] < 0 < p.grad[2, 3]  # the best is raised, the worst lowered
    assert p.grad[2, 1] == p.grad[2, 4] == 0


def test_pro_loss_is_the_same_for_any_order_of_candidates():
    p, r = some_lists()
    order = torch.tensor([3, 0, 4, 2, 1])
    mask = torch.ones_like(p)
    assert pro_loss(p[:, order], r[:, order], mask).item() == pytest.approx(pro_loss(p, r, mask).item(), abs=1e-12)


def test_pro_loss_ignores_masked_values():
    p, r = some_lists()
    mask = torch.ones_like(p)
    mask[5:20, 3:] = 0
    expected = pro_loss(p, r, mask)
    p[5:20, 3:], r[5:20, 3:] = float("nan"), 7.0
    p.requires_grad_()
    loss = pro_loss(p, r, mask)
    loss.backward()
    assert loss == expected
    assert torch.isfinite(p.grad).all()
    assert pro_loss(p.detach(), torch.full_like(r, float("nan")), mask) == 0


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e6])
def test_pro_loss_is_finite_for_tiny_and_huge_differences(scale):
    p, r = (part.float() for part in some_lists())
    p.requires_grad_()
    loss = pro_loss(p, r * scale, torch.ones_like(p))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(p.grad).all()


def test_pairwise_wins_and_best_against_worst():
    rewards = torch.tensor([[0.1, 0.4, float("nan"), 0.4 - 1e-8]])
    assert pairwise_wins(rewards).nonzero().tolist() == [[0, 1, 0], [0, 3, 0]]
    assert not pairwise_wins(rewards, margin=0.35).any()
    assert best_against_worst(rewards).nonzero().tolist() == [[0, 1, 0], [0, 3, 0]]
