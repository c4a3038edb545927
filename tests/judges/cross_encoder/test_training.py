"""Losses against slow float64 loops, training against its documentation, and a student that learns from its teacher."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch

from judges.cross_encoder.pair_tokens import PairTokens
from judges.cross_encoder.training import (
    Examples,
    TrainSettings,
    anchored,
    list_scores,
    load_classifier,
    margin_mse,
    soft_bce,
    soft_targets,
    train,
)
from qr_env.common.errors import ConfigError, JudgeError
from tests.helpers.cross_models import small_bert
from tests.helpers.fakes import tiny_shop
from tests.helpers.models import same_weights, small_model

SHOP = tiny_shop()


def slow_margin_mse(scores: np.ndarray, targets: np.ndarray, known: np.ndarray) -> float:
    """The paper's formula, pair by pair, in float64."""
    losses = []
    for s, t, here in zip(scores.astype(np.float64), targets.astype(np.float64), known, strict=True):
        places = np.flatnonzero(here)
        if len(places) > 1:
            pairs = combinations(places, 2)
            total = sum(((s[i] - s[j]) - (t[i] - t[j])) ** 2 for i, j in pairs)
            losses.append(2 / (len(places) * (len(places) - 1)) * total)
    return float(np.mean(losses)) if losses else 0.0


def random_lists(seed: int, lists: int = 9, k: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    known = rng.random((lists, k)) < 0.7
    known[0], known[1] = False, np.arange(k) == 2  # nothing known, and a single product
    return rng.normal(5, 3, (lists, k)), rng.random((lists, k)), known


@pytest.mark.parametrize("seed", range(5))
def test_margin_mse_is_the_papers_sum_over_all_pairs(seed: int) -> None:
    scores, targets, known = random_lists(seed)
    found = margin_mse(*(torch.from_numpy(part) for part in (scores, targets, known)))
    assert float(found) == pytest.approx(slow_margin_mse(scores, targets, known), rel=1e-12)
    single = margin_mse(torch.from_numpy(scores).float(), torch.from_numpy(targets).float(), torch.from_numpy(known))
    assert float(single) == pytest.approx(float(found), rel=1e-5)


def test_margin_mse_has_the_gradient_of_the_sum_and_depends_on_differences_only() -> None:
    scores, targets, known = random_lists(3)
    leaf = torch.from_numpy(scores).requires_grad_()
    loss = margin_mse(leaf, torch.from_numpy(targets), torch.from_numpy(known))
    loss.backward()
    step = np.zeros_like(scores)
    step[4, np.flatnonzero(known[4])[0]] = 1e-5
    numeric = (slow_margin_mse(scores + step, targets, known) - slow_margin_mse(scores - step, targets, known)) / 2e-5
    assert leaf.grad is not None and float((leaf.grad * torch.from_numpy(step * 1e5)).sum()) == pytest.approx(numeric)
    shifted = margin_mse(leaf.detach() + 11, torch.from_numpy(targets), torch.from_numpy(known))
    assert float(shifted) == pytest.approx(float(loss.detach()))
    assert not leaf.grad[~torch.from_numpy(known)].any()


def test_other_losses_equal_their_formulas() -> None:
    scores, targets, known = random_lists(1)
    tensors = [torch.from_numpy(part) for part in (scores, targets, known)]
    s, t = scores[known], targets[known]
    probability = 1 / (1 + np.exp(-s))
    assert float(soft_bce(*tensors)) == pytest.approx(
        -(t * np.log(probability) + (1 - t) * np.log(1 - probability)).mean()
    )
    wanted = slow_margin_mse(scores, targets, known) + 0.3 * ((s - t) ** 2).mean()
    assert float(anchored(0.3)(*tensors)) == pytest.approx(wanted)
    none = torch.zeros_like(tensors[2])
    assert [float(loss(*tensors[:2], none)) for loss in (soft_bce, margin_mse, anchored(1))] == [0, 0, 0]


def test_soft_targets() -> None:
    probs = np.concatenate([np.eye(4), [[0.1, 0.1, 0.4, 0.4]], np.full((1, 4), np.nan)]).astype(np.float32)
    np.testing.assert_allclose(soft_targets(probs), [0, 0, 0.5, 1, 0.6, np.nan], rtol=1e-6)


def colour_examples(queries: list[str], lists: int, seed: int) -> Examples:
    """Lists whose target is the share of the query's two words in the title."""
    rng = np.random.default_rng(seed)
    rows = np.array([rng.choice(len(SHOP.titles), 6, replace=False) for _ in range(lists)], np.int32)
    texts = [queries[i] for i in rng.integers(len(queries), size=lists)]
    held = [
        [np.mean([word in SHOP.titles[row] for word in text.split()]) for row in part]
        for text, part in zip(texts, rows, strict=True)
    ]
    return Examples(texts, rows, np.array(held, np.float32), SHOP.titles)


def share_ordered_correctly(model: object, tokens: PairTokens, held: Examples) -> float:
    """Share of pairs of unequal targets that the scores order correctly."""
    with torch.inference_mode():
        scores = list_scores(model, tokens, held).numpy()
    gap = held.targets_NK[:, :, None] - held.targets_NK[:, None, :]
    return float(((scores[:, :, None] - scores[:, None, :])[gap > 0] > 0).mean())


def test_a_student_orders_unseen_pairs(tmp_path: Path) -> None:
    queries = [
        f"{colour} {kind}"
        for colour, kind in product(("red", "blue", "green", "black", "white"), ("sofa", "refrigerator", "shoes"))
    ]
    held = colour_examples(queries[::4], 60, seed=1)
    seen = colour_examples([query for query in queries if query not in queries[::4]], 240, seed=0)
    model, tokenizer = load_classifier(small_bert(tmp_path / "bert"))
    tokens = PairTokens(tokenizer, 24)
    before = share_ordered_correctly(model, tokens, held)
    losses = train(model, tokens, seen, anchored(0.1), TrainSettings(epochs=4, lr=1e-2, freeze=False))
    after = share_ordered_correctly(model, tokens, held)
    assert before < 0.7 < 0.85 < after, "queries of the held-out lists are new combinations of known words"
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])


def small_set() -> tuple[Examples, TrainSettings]:
    return colour_examples(["red sofa", "blue shoes"], 12, 0), TrainSettings(epochs=1, groups=4, min_steps=6, lr=1e-3)


def test_training_is_deterministic_and_leaves_frozen_vectors(tmp_path: Path) -> None:
    examples, settings = small_set()
    folder = small_bert(tmp_path / "bert")
    models = []
    for _ in range(2):
        model, tokenizer = load_classifier(folder)
        vectors = model.get_input_embeddings().weight.detach().clone()
        losses = train(model, PairTokens(tokenizer, 24), examples, soft_bce, settings)
        assert len(losses) == settings.steps(12) == 6, "twelve lists are three steps: repeated once to be six"
        assert torch.equal(model.get_input_embeddings().weight, vectors)
        models.append(model)
    assert same_weights(*models)
    fresh, _ = load_classifier(folder)
    assert not same_weights(models[0], fresh)


def test_missing_verdicts_do_not_change_training(tmp_path: Path) -> None:
    examples, settings = small_set()
    holes = np.random.default_rng(0).random(examples.targets_NK.shape) < 0.3
    targets = np.where(holes, np.nan, examples.targets_NK).astype(np.float32)
    rows = np.where(holes, -1, examples.rows_NK).astype(np.int32)
    trained = []
    for part in (replace(examples, targets_NK=targets), replace(examples, targets_NK=targets, rows_NK=rows)):
        model, tokenizer = load_classifier(small_bert(tmp_path / "bert"))
        train(model, PairTokens(tokenizer, 24), part, anchored(0.1), settings)
        trained.append(model)
    assert same_weights(*trained), "a product without a verdict counts as padding"


def test_steps_of_small_and_large_sets() -> None:
    settings = TrainSettings(epochs=2, groups=8, min_steps=60, max_epochs=6)
    assert [settings.steps(n) for n in (8, 80, 240, 800)] == [6, 60, 60, 200]


def test_all_kinds_of_models_load(tmp_path: Path) -> None:
    deep, _ = load_classifier(small_bert(tmp_path / "five", layers=3, labels=5), layers=1)
    assert deep.config.num_labels == 1 and len(deep.bert.encoder.layer) == 1, "another head is replaced, layers are cut"
    model, tokenizer = small_model()
    model.save_pretrained(tmp_path / "causal")
    tokenizer.save_pretrained(tmp_path / "causal")
    causal, tokenizer = load_classifier(tmp_path / "causal")
    examples, settings = small_set()
    losses = train(causal, PairTokens(tokenizer, 24), examples, soft_bce, settings)
    assert np.isfinite(losses).all()
    with pytest.raises(JudgeError, match="does not load"):
        load_classifier(tmp_path)


def test_bad_examples_are_refused(tmp_path: Path) -> None:
    examples, settings = small_set()
    model, tokenizer = load_classifier(small_bert(tmp_path / "bert"))
    with pytest.raises(ConfigError, match="no lists"):
        train(model, PairTokens(tokenizer, 24), examples[:0], soft_bce, settings)
    with pytest.raises(ConfigError, match="3 queries, 12 lists"):
        Examples(examples.texts[:3], examples.rows_NK, examples.targets_NK, examples.products)
    huge = replace(examples, targets_NK=np.full_like(examples.targets_NK, 1e30))
    with pytest.raises(JudgeError, match="diverged at step 0"):
        train(model, PairTokens(tokenizer, 24), huge, anchored(1.0), settings)
