"""A policy of some hundred parameters that weighs suggested words by their features.

    policy = WordPolicy(suggest)
    train(policy, simulator, queries, WordPolicyConfig(steps=120))
    policy.rewrite(["deckpaint"])                  # [["deck paint wood^0.09"]]

It tells what a judge's reward holds for a student that only chooses and weighs the words that `suggest` knows: it
learns in a minute, and a language model that is shown the same words cannot choose better unless it understands them.

For each of up to `MAX_WORDS` words of a query, repaired ones first, a multilayer perceptron reads `FEATURES` and draws
one of `SHARES` of the weight that the word has at its source. The words of a rewrite are drawn independently. Learning
is GRPO (Shao et al. 2024, arXiv 2402.03300) with one on-policy step a batch, in which the clipped ratio is 1: the
group's mean reward is the baseline, without division by its deviation.

Shapes: P queries, G rewrites a query, T = `MAX_WORDS` words, F features, B shares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from agents.policy.losses import group_advantages
from agents.suggestions.rewriter import Evidence, Suggest
from qr_env.common.errors import ConfigError
from qr_env.common.types import Query
from qr_env.environment.simulator import Simulator

MAX_WORDS = 10
SHARES = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
FEATURES = (
    "repaired", "weight", "rank", "weight of the best", "full matches", "no full match", "typed words",
    "repaired words",
)  # fmt: skip
HIDDEN = 16
FIRST_SHARE = 3  # of SHARES: what a new policy prefers for suggested words, as `suggest` does; repaired ones weigh all
HEADSTART = 1.5  # logit by which it prefers it
WEIGHTS_FILE, SETTINGS_FILE = "word_policy.safetensors", "word_policy.json"


@dataclass(frozen=True)
class WordPolicyConfig:
    """How a word policy learns."""

    steps: int = 120
    """Optimizer steps."""
    queries: int = 256
    """Queries a step."""
    group_size: int = 8
    """Rewrites of a query."""
    learning_rate: float = 3e-3
    """Of Adam."""
    entropy_coef: float = 1e-3
    """Weight of the entropy bonus."""
    seed: int = 0
    """Of the weights, the batches and the samples."""


@dataclass(frozen=True)
class WordBatch:
    """The words of P queries as tensors."""

    evidence: list[Evidence]
    """What `suggest` knows of each query."""
    features_PTF: Tensor
    """float32, `FEATURES` of each word, 0 where there is none."""
    mask_PT: Tensor
    """bool, True where there is a word."""


class WordPolicy(nn.Module):
    """Implements `qr_env.common.protocols.Agent`; its words and their weights come from `suggest`."""

    name = "word policy"

    def __init__(self, suggest: Suggest, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.suggest = suggest
        self.hidden = nn.Linear(len(FEATURES), HIDDEN)
        self.output = nn.Linear(HIDDEN, len(SHARES))
        for layer in (self.hidden, self.output):
            nn.init.normal_(layer.weight, std=0.3 * layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
        self.known: dict[str, Evidence] = {}

    def batch(self, queries: Sequence[str]) -> WordBatch:
        """The words of P queries and their features; what `suggest` finds is kept for the next time."""
        fresh = [query for query in dict.fromkeys(queries) if query not in self.known]
        self.known |= dict(zip(fresh, self.suggest.evidence(fresh), strict=True)) if fresh else {}
        evidence = [self.known[query] for query in queries]
        features_PTF = np.zeros((len(queries), MAX_WORDS, len(FEATURES)), np.float32)
        for row, one in enumerate(evidence):
            values = word_features(one)
            features_PTF[row, : len(values)] = values
        counts_P = torch.tensor([len(words_of(one)) for one in evidence], dtype=torch.long)
        mask_PT = torch.arange(MAX_WORDS) < counts_P[:, None]
        return WordBatch(evidence, torch.from_numpy(features_PTF), mask_PT)

    def logits(self, batch: WordBatch) -> Tensor:
        """(P, T, B) logits of each word's share of its weight."""
        scores_PTB = self.output(torch.tanh(self.hidden(batch.features_PTF)))
        repaired_PT = batch.features_PTF[..., 0] > 0
        preferred_PT = torch.where(repaired_PT, len(SHARES) - 1, FIRST_SHARE)
        return scores_PTB + HEADSTART * nn.functional.one_hot(preferred_PT, len(SHARES))

    def rewrites(self, batch: WordBatch, choices_PT: Tensor) -> list[str]:
        """The rewrite of each query whose words have the chosen shares, (P, T) int64 places in `SHARES`."""
        return [self._rewrite(one, row) for one, row in zip(batch.evidence, choices_PT.tolist(), strict=True)]

    def _rewrite(self, evidence: Evidence, choices: list[int]) -> str:
        words = [
            (word, weight * SHARES[choice]) for (word, weight), choice in zip(words_of(evidence), choices, strict=False)
        ]
        return self.suggest.with_words(evidence.query, [(word, weight) for word, weight in words if weight > 0])

    @torch.no_grad()
    def rewrite(self, queries: Sequence[str], n: int = 1, seed: int = 0) -> list[list[str]]:
        """The most probable rewrite of each query, then n − 1 sampled ones."""
        batch = self.batch(queries)
        logits_PTB = self.logits(batch)
        columns = [self.rewrites(batch, logits_PTB.argmax(dim=-1))]
        generator = torch.Generator().manual_seed(seed)
        columns += [self.rewrites(batch, draw(logits_PTB, generator)) for _ in range(n - 1)]
        return [list(row) for row in zip(*columns, strict=True)]

    def save(self, folder: Path) -> None:
        """Write the weights and what they were made for."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), folder / WEIGHTS_FILE)
        facts = {"features": FEATURES, "shares": SHARES, "max_words": MAX_WORDS}
        (folder / SETTINGS_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, suggest: Suggest) -> WordPolicy:
        """Read what `save` wrote. Raises ConfigError for a folder without a word policy, or one of other features."""
        if not (folder / SETTINGS_FILE).is_file():
            raise ConfigError(
                f"{folder} holds no word policy ({SETTINGS_FILE} is missing): qr headroom SHOP --out {folder} "
                "trains one"
            )
        facts = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        if tuple(facts["features"]) != FEATURES or tuple(facts["shares"]) != SHARES:
            raise ConfigError(f"{folder} was trained on other features or shares: train it again")
        policy = cls(suggest)
        policy.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return policy


def words_of(evidence: Evidence) -> list[tuple[str, float]]:
    """The words that the policy weighs, with the greatest weight of each: repaired ones first, then suggested ones."""
    words = [(word, 1.0) for word in evidence.repaired]
    return [*words, *((added.word, added.weight) for added in evidence.words)][:MAX_WORDS]


def word_features(evidence: Evidence) -> list[list[float]]:
    """`FEATURES` of each of `words_of`, all between 0 and about 1."""
    words, repaired = words_of(evidence), len(evidence.repaired)
    best = evidence.words[0].weight if evidence.words else 0.0
    typed = len(evidence.query.split())
    matches = evidence.full_matches
    shared = [best, matches / 10, float(matches == 0), min(typed, 8) / 8, min(repaired, 2) / 2]
    return [[float(at < repaired), weight, at / MAX_WORDS, *shared] for at, (_, weight) in enumerate(words)]


def draw(logits_PTB: Tensor, generator: torch.Generator) -> Tensor:
    """One choice for each word, (P, T) int64."""
    probs_MB = torch.softmax(logits_PTB, dim=-1).flatten(0, 1)
    return torch.multinomial(probs_MB, 1, generator=generator).reshape(logits_PTB.shape[:2])


def train(
    policy: WordPolicy,
    make_simulator: Callable[[int, int], Simulator],
    queries: Sequence[Query],
    config: WordPolicyConfig,
) -> list[dict[str, float]]:
    """Learn from the rewards of a simulator; metrics of every step.

    Args:
        make_simulator: (blocks, group size) → engine, judge and reward, `runs.online.setup.TrainingSetup.simulator`.
        queries: the log's queries, drawn without replacement until all were seen.
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    size = min(config.queries, len(queries))
    simulator = make_simulator(size, config.group_size)
    order: list[int] = []
    history = []
    with tqdm(range(config.steps), desc="word policy", unit="step") as bar:
        for _ in bar:
            if len(order) < size:
                order = torch.randperm(len(queries), generator=generator).tolist()
            chosen, order = [queries[at] for at in order[:size]], order[size:]
            metrics = step(policy, simulator, chosen, config, optimizer, generator)
            history.append(metrics)
            bar.set_postfix_str(f"reward {metrics['reward']:+.4f} changed {metrics['changed']:.0%}", refresh=False)
    return history


def step(
    policy: WordPolicy,
    simulator: Simulator,
    queries: Sequence[Query],
    config: WordPolicyConfig,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> dict[str, float]:
    """Draw G rewrites of each query, search and grade them, and take one gradient step."""
    group_size = config.group_size
    batch = policy.batch([query.text for query in queries])
    with torch.no_grad():
        logits_PTB = policy.logits(batch)
        choices_PGT = torch.stack([draw(logits_PTB, generator) for _ in range(group_size)], dim=1)
    columns = [policy.rewrites(batch, choices_PGT[:, g]) for g in range(group_size)]
    simulator.reset(queries)
    result = simulator.step([text for row in zip(*columns, strict=True) for text in row])
    rewards_PG = torch.as_tensor(result.rewards_N, dtype=torch.float32).reshape(-1, group_size)

    suggested_PT = batch.mask_PT & (batch.features_PTF[..., 0] == 0)
    changed_PG = ((choices_PGT > 0) & suggested_PT[:, None]).any(dim=-1).float()
    advantages_PG = group_advantages(rewards_PG)

    logprobs_PTB = torch.log_softmax(policy.logits(batch), dim=-1)
    picked_PGT = logprobs_PTB[:, None].expand(-1, group_size, -1, -1).gather(-1, choices_PGT[..., None]).squeeze(-1)
    chosen_PG = (picked_PGT * batch.mask_PT[:, None]).sum(dim=-1)
    entropy_PT = -(logprobs_PTB.exp() * logprobs_PTB).sum(dim=-1)
    entropy = (entropy_PT * batch.mask_PT).sum() / batch.mask_PT.sum().clamp(min=1)
    loss = -(advantages_PG * chosen_PG).mean() - config.entropy_coef * entropy
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {
        "reward": float(np.nanmean(rewards_PG)),
        "changed": float(changed_PG.mean()),
        "entropy": float(entropy.detach()),
    }
