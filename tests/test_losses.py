"""Advantages and the policy loss: float64 loops, and TRL's GRPO on the same batch."""

import math

import numpy as np
import pytest
import torch

from agents.losses import aggregate, clipped_policy_loss, group_advantages, kl_k3, zero_variance_groups
from agents.rollout import Rollout, completion_logprobs
from tests.models import small_model


def slow_advantages(rewards, normalize_std, eps=1e-4):
    out = []
    for group in rewards:
        known = [r for r in group if not math.isnan(r)]
        mean = sum(known) / len(known) if known else 0.0
        deviation = math.sqrt(sum((r - mean) ** 2 for r in known) / max(len(known) - 1, 1)) if known else 0.0
        scale = deviation + eps if normalize_std else 1.0
        out.append([0.0 if math.isnan(r) else (r - mean) / scale for r in group])
    return np.array(out)


@pytest.mark.parametrize("normalize_std", [False, True])
def test_advantages_equal_a_float64_loop(normalize_std):
    rewards = np.random.default_rng(0).normal(size=(50, 8))
    rewards[3, 2] = rewards[3, 5] = np.nan
    rewards[7] = np.nan
    ours = group_advantages(torch.tensor(rewards), normalize_std).numpy()
    np.testing.assert_allclose(ours, slow_advantages(rewards.tolist(), normalize_std), atol=1e-12)


def test_a_missing_reward_neither_teaches_nor_moves_the_others():
    with_gap = group_advantages(torch.tensor([[1.0, float("nan"), 0.0]]))
    assert with_gap[0, 1] == 0
    assert torch.equal(with_gap[0, [0, 2]], group_advantages(torch.tensor([[1.0, 0.0]]))[0])


def test_groups_without_difference_are_found():
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


@pytest.mark.parametrize(("trl_type", "ours"), [("grpo", "sequence"), ("bnpo", "token"), ("dr_grpo", "constant")])
@pytest.mark.filterwarnings("ignore")
def test_the_loss_equals_trls_on_one_batch(trl_type, ours, tmp_path):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = small_model()
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")  # TRL reads the reference model from where the policy came from
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
        use_bias_correction_kl=False, bf16=False, use_cpu=True,
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
    logprobs, _ = completion_logprobs(trainer.model, batch)
    values, _ = clipped_policy_loss(logprobs, old, advantages, 0.2, 0.28)
    mine = aggregate(values + 0.05 * kl_k3(logprobs, ref), mask, ours, length)
    assert mine.item() == pytest.approx(theirs.item(), abs=1e-5)
