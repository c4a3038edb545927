"""Online DPO: TRL's DPO and SimPO losses on one batch, the identity task, ties, margins, missing rewards, state."""

import copy

import pytest
import torch
from accelerate import Accelerator

from agents.policy.prompt import prompt_ids
from agents.policy.rollout import sample
from agents.rl.dpo import DPO, DPOConfig
from qr_env.common.errors import ConfigError
from tests.agents.rl.test_grpo import QUERIES, TARGETS, rollout_and_rewards
from tests.helpers.models import same_weights, small_model

PAIRS = list(zip(QUERIES, TARGETS, strict=True))
NAN = float("nan")


def make(config, seed=0):
    torch.manual_seed(seed)
    model, tokenizer = small_model(seed=seed)
    return model, DPO(model, tokenizer, config, Accelerator(cpu=True))


def train(config, updates):
    model, trainer = make(config)
    generator = torch.Generator().manual_seed(0)
    rewards, metrics = torch.zeros(4, 16), {}
    for _ in range(updates):
        rollout, rewards = rollout_and_rewards(model, trainer.tokenizer, generator)
        metrics = trainer.update(rollout, rewards)
    return model, rewards, metrics


@pytest.mark.parametrize("all_pairs", [False, True])
def test_it_reaches_the_optimum_of_an_identity_task(all_pairs):
    _, rewards, _ = train(DPOConfig(learning_rate=1e-2, all_pairs=all_pairs), 80)
    assert rewards.mean() >= 0.9


def test_it_learns_without_a_reference():
    _, rewards, _ = train(DPOConfig(learning_rate=5e-3, reference_free=True, beta=2.0), 100)
    assert rewards.mean() >= 0.75  # chance: 0.25; without a reference nothing bounds the rejected log-probability


def make_rollout(model, tokenizer, group_size=4):
    """Rewrites of up to five tokens of three prompts of different lengths."""
    eos, generator = tokenizer.eos_token_id, torch.Generator().manual_seed(0)
    prompts = prompt_ids(tokenizer, ["couch", "red running shoes", "0 1 2 3"])
    return sample(model, prompts, group_size, 5, eos, eos, generator=generator)


def perturbed(model):
    """A policy near this one."""
    other, generator = copy.deepcopy(model), torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return other


def trl_batch(rollout, chosen, rejected, pad):
    """The pairs as TRL's collator lays them out: chosen rows, then rejected ones, padded on the right."""
    padded = rollout.prompt_ids_PTp, rollout.prompt_mask_PTp
    prompts = [ids[mask.bool()].tolist() for ids, mask in zip(*padded, strict=True)]
    rows = [(prompts[n // rollout.group_size], rollout.completions()[n]) for n in [*chosen, *rejected]]
    width = max(len(prompt) + len(tokens) for prompt, tokens in rows)

    def padded(values, pad_value):
        return torch.tensor([row + [pad_value] * (width - len(row)) for row in values])

    return {
        "input_ids": padded([prompt + tokens for prompt, tokens in rows], pad),
        "attention_mask": padded([[1] * (len(prompt) + len(tokens)) for prompt, tokens in rows], 0),
        "completion_mask": padded([[0] * len(prompt) + [1] * len(tokens) for prompt, tokens in rows], 0),
    }


REWARDS = torch.tensor([[0.1, 0.5, NAN, -0.2], [0.0, 0.0, 0.0, 0.3], [0.2, 0.2, 0.2, 0.2]])
# The third group is tied, three rewrites of the second share the worst reward.
CHOSEN, REJECTED = [1, 7, 7, 7], [3, 4, 5, 6]


@pytest.mark.filterwarnings("ignore")
def test_loss_and_metrics_equal_trls_on_one_batch(tmp_path):
    from datasets import Dataset
    from trl import DPOConfig as TRLConfig
    from trl import DPOTrainer

    model, tokenizer = small_model()
    reference = perturbed(model)
    rollout = make_rollout(model, tokenizer)
    ours = DPO(copy.deepcopy(model), tokenizer, DPOConfig(beta=0.3), Accelerator(cpu=True), reference)
    loss, metrics = ours.loss(rollout, ours.pairs(REWARDS))
    config = TRLConfig(
        output_dir=str(tmp_path), beta=0.3, report_to="none", bf16=False, use_cpu=True, gradient_checkpointing=False
    )
    rows = Dataset.from_dict({"prompt": ["red"], "chosen": [" blue"], "rejected": [" black"]})
    trainer = DPOTrainer(model, copy.deepcopy(reference), config, train_dataset=rows, processing_class=tokenizer)
    trainer.model.eval()
    batch = trl_batch(rollout, CHOSEN, REJECTED, tokenizer.pad_token_id)
    theirs = trainer._compute_loss(trainer.model, batch, False)
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-5)
    trl_metrics = trainer._metrics["eval"]
    for name in ("chosen", "rejected", "accuracies", "margins"):
        assert metrics[f"rewards/{name}"] == pytest.approx(trl_metrics[f"rewards/{name}"][0], abs=1e-5)
    for name in ("logps/chosen", "logps/rejected"):
        assert metrics[name] == pytest.approx(trl_metrics[name][0], abs=1e-4)
    loss.backward()
    theirs.backward()
    for mine, their in zip(ours.model.parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, their.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_the_reference_free_loss_equals_trls_simpo():
    from trl.experimental.cpo import CPOTrainer

    model, tokenizer = small_model()
    rollout = make_rollout(model, tokenizer)
    config = DPOConfig(beta=2.0, target=0.5, reference_free=True)
    ours = DPO(model, tokenizer, config, Accelerator(cpu=True))
    assert ours.reference is None
    loss, _ = ours.loss(rollout, ours.pairs(REWARDS))
    lengths, means = rollout.mask_NT.sum(dim=1), rollout.logprobs_NT.sum(dim=1)
    means = means / lengths
    theirs = CPOTrainer.__new__(CPOTrainer)
    theirs.loss_type, theirs.beta, theirs.simpo_gamma, theirs.label_smoothing = "simpo", 2.0, 0.5, 0.0
    theirs.accelerator, theirs.alpha = ours.accelerator, 0.0
    expected, _, _ = theirs.cpo_loss(means[CHOSEN], means[REJECTED])
    assert loss.item() == pytest.approx(expected.mean().item(), abs=1e-5)


def test_pairs_are_the_best_against_the_worst_or_all_with_a_margin():
    _, trainer = make(DPOConfig())
    assert trainer.pairs(REWARDS).nonzero().tolist() == [[0, 1, 3], [1, 3, 0], [1, 3, 1], [1, 3, 2]]
    _, trainer = make(DPOConfig(all_pairs=True, margin=0.35))
    assert trainer.pairs(REWARDS).nonzero().tolist() == [[0, 1, 0], [0, 1, 3]]


def test_ties_and_pairs_below_the_margin_are_dropped_and_counted():
    model, trainer = make(DPOConfig(margin=0.35))
    metrics = trainer.update(make_rollout(model, trainer.tokenizer), REWARDS)
    assert metrics["pairs"] == 1
    assert metrics["groups/zero_variance"] == pytest.approx(1 / 3)
    assert metrics["groups/below_margin"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("rewards", [torch.full((4, 16), NAN), torch.ones(4, 16)])
def test_missing_and_equal_rewards_change_nothing(rewards):
    model, trainer = make(DPOConfig())
    before = copy.deepcopy(model)
    rollout, _ = rollout_and_rewards(model, trainer.tokenizer, torch.Generator().manual_seed(0))
    assert trainer.update(rollout, rewards)["groups/zero_variance"] == 1.0
    assert same_weights(model, before)


def test_a_row_without_a_reward_has_no_influence():
    outcomes = []
    for token in (0, 5):  # the tokens of that row must not matter
        model, trainer = make(DPOConfig(learning_rate=1e-2, all_pairs=True))
        rollout, rewards = rollout_and_rewards(model, trainer.tokenizer, torch.Generator().manual_seed(0))
        rewards[1, 3], rollout.tokens_NT[19] = NAN, token
        trainer.update(rollout, rewards)
        outcomes.append(model)
    assert same_weights(*outcomes)


def test_beta_keeps_the_policy_near_its_reference():
    unbound = train(DPOConfig(learning_rate=5e-3, beta=0.01), 50)[2]["kl"]
    bound = train(DPOConfig(learning_rate=5e-3, beta=10.0), 50)[2]["kl"]
    assert train(DPOConfig(learning_rate=3e-3), 1)[2]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert bound < unbound / 4


@pytest.mark.parametrize("settings", [{"beta": 0.0}, {"margin": -0.1}])
def test_invalid_settings_are_refused(settings):
    with pytest.raises(ConfigError, match=str(next(iter(settings.values())))):
        DPOConfig(**settings)


def test_a_restored_state_continues_exactly():
    config = DPOConfig(learning_rate=3e-3, minibatch=2, epochs=2, anchor_coef=0.1)
    generator = torch.Generator().manual_seed(0)

    def steps(trainer, model):
        return [trainer.update(*rollout_and_rewards(model, trainer.tokenizer, generator), PAIRS) for _ in range(3)]

    model, first = make(config)
    reference = copy.deepcopy(model)
    steps(first, model)
    state, generator_state, restored = copy.deepcopy(first.state_dict()), generator.get_state(), copy.deepcopy(model)
    expected = steps(first, model)
    second = DPO(restored, first.tokenizer, config, Accelerator(cpu=True), reference)
    second.load_state_dict(state)
    generator.set_state(generator_state)
    assert steps(second, restored) == expected
    assert same_weights(restored, model)
