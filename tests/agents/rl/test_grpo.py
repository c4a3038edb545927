"""GRPO: the identity task, missing rewards, KL, the anchor, determinism, state."""

import copy
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from agents.policy.prompt import prompt_ids
from agents.policy.rollout import sample
from agents.rl.grpo import GRPO, GRPOConfig
from tests.helpers.models import same_weights, small_model

QUERIES = ["couch", "fridge", "trainers", "red"]
TARGETS = ["sofa", "freezer", "shoes", "blue"]


def rollout_and_rewards(model, tokenizer, generator, group_size=16):
    """Rewrites of one token; the reward of query q is 1 where token id mod 4 = q, so chance is 0.25."""
    eos = tokenizer.eos_token_id
    rollout = sample(model, prompt_ids(tokenizer, QUERIES), group_size, 1, eos, eos, generator=generator)
    return rollout, (rollout.tokens_NT.reshape(4, group_size) % 4 == torch.arange(4)[:, None]).float()


def train(config, updates, seed=0):
    torch.manual_seed(seed)
    model, tokenizer = small_model(seed=seed)
    trainer = GRPO(model, tokenizer, config, Accelerator(cpu=True))
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.zeros(4, 16)
    for _ in range(updates):
        rollout, rewards = rollout_and_rewards(model, tokenizer, generator)
        metrics = trainer.update(rollout, rewards)
    return model, rewards, metrics


@pytest.mark.parametrize("normalize_std", [False, True])
def test_it_reaches_the_optimum_of_an_identity_task(normalize_std):
    config = GRPOConfig(learning_rate=3e-3, kl_coef=0.0, normalize_std=normalize_std)
    _, rewards, _ = train(config, 200)
    assert rewards.mean() >= 0.9


def test_two_runs_with_one_seed_are_the_same_to_the_bit():
    config = GRPOConfig(learning_rate=3e-3, kl_coef=0.05)
    first, _, metrics = train(config, 5)
    second, _, again = train(config, 5)
    assert same_weights(first, second)
    assert metrics == again


def test_all_missing_rewards_change_nothing():
    model, tokenizer = small_model()
    before = copy.deepcopy(model)
    trainer = GRPO(model, tokenizer, GRPOConfig(kl_coef=0.0), Accelerator(cpu=True))
    rollout, _ = rollout_and_rewards(model, tokenizer, torch.Generator().manual_seed(0))
    metrics = trainer.update(rollout, torch.full((4, 16), float("nan")))
    assert metrics["groups/zero_variance"] == 1.0
    assert same_weights(model, before)


def test_a_row_without_a_reward_has_no_influence():
    outcomes = []
    for token in (0, 5):  # the tokens of that row must not matter
        trainer = make_trainer_off_reference(GRPOConfig(learning_rate=1e-2, kl_coef=0.05))
        generator = torch.Generator().manual_seed(0)
        rollout, rewards = rollout_and_rewards(trainer.model, trainer.tokenizer, generator)
        rewards[1, 3], rollout.tokens_NT[19] = float("nan"), token
        trainer.update(rollout, rewards)
        outcomes.append(trainer.model)
    assert same_weights(*outcomes)


@pytest.mark.parametrize("aggregation", ["token", "sequence", "constant"])
def test_rows_without_rewards_give_the_loss_of_groups_without_them(aggregation):
    metrics = []
    for count in (3, 2):
        trainer = make_trainer_off_reference(GRPOConfig(kl_coef=0.05, aggregation=aggregation))
        rollout = make_groups_of_three(trainer)
        rewards = torch.tensor([[1.0, 0.0, torch.nan], [0.0, 2.0, torch.nan], [1.0, 3.0, torch.nan]])
        metrics.append(trainer.update(first_of_each_group(rollout, count), rewards[:, :count]))
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4, abs=1e-6)


def make_trainer_off_reference(config):
    """A learner whose reference differs from the policy, so that the KL has a gradient from the first step."""
    model, tokenizer = small_model()
    trainer = GRPO(model, tokenizer, config, Accelerator(cpu=True))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in trainer.reference.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return trainer


def make_groups_of_three(trainer):
    """Three groups of three rewrites of up to four tokens; the last of each group is never the longest."""
    eos, generator = trainer.tokenizer.eos_token_id, torch.Generator().manual_seed(2)
    rollout = sample(trainer.model, prompt_ids(trainer.tokenizer, QUERIES[:3]), 3, 4, eos, eos, generator=generator)
    mask_NT = rollout.mask_NT.clone()
    mask_NT[2::3, 2:] = 0
    return replace(rollout, mask_NT=mask_NT)


def first_of_each_group(rollout, count):
    """The rollout with only the first `count` rewrites of each group."""
    rows = torch.arange(len(rollout.mask_NT)).reshape(-1, rollout.group_size)[:, :count].flatten()
    parts = {name: getattr(rollout, name)[rows] for name in ("tokens_NT", "mask_NT", "logprobs_NT")}
    return replace(rollout, **parts, group_size=count)


def test_kl_starts_at_zero_and_its_coefficient_bounds_it():
    free = train(GRPOConfig(learning_rate=3e-3, kl_coef=1e-6), 60)[2]["kl"]
    penalized = train(GRPOConfig(learning_rate=3e-3, kl_coef=5.0), 60)[2]["kl"]
    assert train(GRPOConfig(learning_rate=3e-3, kl_coef=0.05), 1)[2]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert penalized < free / 4


def test_the_anchor_fits_its_pairs():
    model, tokenizer = small_model()
    pairs = list(zip(QUERIES, TARGETS, strict=True))
    trainer = GRPO(model, tokenizer, GRPOConfig(3e-3, kl_coef=0.0, anchor_coef=1.0), Accelerator(cpu=True))
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(40):
        rollout, _ = rollout_and_rewards(model, tokenizer, generator)
        losses.append(trainer.update(rollout, torch.rand(4, 16, generator=generator), pairs)["anchor_loss"])
    assert losses[-1] < losses[0] / 3


def test_a_restored_state_continues_exactly():
    config = GRPOConfig(learning_rate=3e-3, kl_coef=0.0)
    expected, _, _ = train(config, 6)
    torch.manual_seed(0)
    model, tokenizer = small_model(seed=0)
    first = GRPO(model, tokenizer, config, Accelerator(cpu=True))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        first.update(*rollout_and_rewards(model, tokenizer, generator))
    restored = copy.deepcopy(model)
    second = GRPO(restored, tokenizer, config, Accelerator(cpu=True))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in range(3):
        second.update(*rollout_and_rewards(restored, tokenizer, generator))
    assert same_weights(restored, expected)


@pytest.mark.parametrize("policy_coef", [0.0, 1.0])
def test_without_the_policy_loss_rewards_have_no_influence(policy_coef):
    """policy_coef 0: the anchor alone, with the same weights for any rewards."""
    after = []
    for best in (0, 1):
        model, tokenizer = small_model()
        config = GRPOConfig(3e-3, kl_coef=0.0, policy_coef=policy_coef, anchor_coef=1.0)
        trainer = GRPO(model, tokenizer, config, Accelerator(cpu=True))
        rollout, _ = rollout_and_rewards(model, tokenizer, torch.Generator().manual_seed(0))
        rewards_PG = torch.eye(16)[best].repeat(4, 1)
        for _ in range(3):
            trainer.update(rollout, rewards_PG, [("couch", "sofa")])
        after.append(model)
    assert same_weights(*after) == (policy_coef == 0.0)
