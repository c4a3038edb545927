"""Fine-tuning: the loss is on the response, and pairs can be memorized."""

import copy

import pytest
import torch

from agents.supervised.sft import IGNORED, fine_tune, response_sequences
from qr_env.common.errors import ConfigError
from tests.helpers.models import copy_of, small_student

PAIRS = [("couch", "sofa"), ("fridge", "freezer"), ("red", "")]


def test_the_prompt_has_no_loss():
    student = small_student()
    for row in response_sequences(student.tokenizer, PAIRS):
        counted = [label for label in row["labels"] if label != IGNORED]
        assert counted == row["input_ids"][-len(counted) :]
        assert counted[-1] == student.tokenizer.eos_token_id
    assert sum(label != IGNORED for label in row["labels"]) == 1  # "" is the end token alone


def test_pairs_are_memorized():
    student = small_student()
    sequences = response_sequences(student.tokenizer, PAIRS * 40)
    result = fine_tune(student.model, student.tokenizer, sequences, learning_rate=5e-3, batch_size=12, epochs=12)
    assert [row[0] for row in student.rewrite([query for query, _ in PAIRS])] == [rewrite for _, rewrite in PAIRS]
    assert result["train_loss"] > 0


def test_a_copy_of_a_fine_tuned_model_runs_on_its_own_weights():
    student = small_student()
    sequences = response_sequences(student.tokenizer, PAIRS)
    fine_tune(student.model, student.tokenizer, sequences, learning_rate=5e-3, batch_size=3)
    duplicate = copy.deepcopy(student.model)
    with torch.no_grad():
        duplicate.get_input_embeddings().weight.zero_()
        ids = torch.tensor([[1, 2, 3]])
        assert not torch.equal(duplicate(input_ids=ids).logits, student.model(input_ids=ids).logits)


def four_steps(packing):
    """Loss and weights after four steps on all rows (the first has learning rate 0)."""
    student = copy_of(small_student())
    sequences = response_sequences(student.tokenizer, [*PAIRS, ("blue couch", "settee blue"), ("shoes", "running 2")])
    result = fine_tune(
        student.model, student.tokenizer, sequences, learning_rate=1e-2, batch_size=len(sequences), epochs=4,
        packing=packing,
    )  # fmt: skip
    return result["train_loss"], student.model.state_dict()


def test_packed_and_padded_rows_have_equal_losses_and_gradients():
    """Five sequences in one row do not attend to each other."""
    (packed, packed_weights), (padded, padded_weights) = four_steps(True), four_steps(False)
    assert packed == pytest.approx(padded, rel=1e-5)
    start = small_student().model.state_dict()
    for name, value in packed_weights.items():
        assert (value - padded_weights[name]).norm() < 1e-3 * (value - start[name]).norm(), name


def test_packing_refuses_long_sequences_and_mixing_attention():
    student = copy_of(small_student())
    long = [{"input_ids": [1] * 600, "labels": [1] * 600}]
    with pytest.raises(ConfigError, match="600 tokens"):
        fine_tune(student.model, student.tokenizer, long, learning_rate=1e-3, batch_size=1, packing=True)
    student.model.config._attn_implementation = "flex_attention"
    with pytest.raises(ConfigError, match="flex_attention"):
        fine_tune(
            student.model, student.tokenizer, response_sequences(student.tokenizer, PAIRS), learning_rate=1e-3,
            batch_size=3, packing=True,
        )  # fmt: skip
