"""Fine-tuning: the loss is on the response, and a pair can be learned by heart."""

import copy

import torch

from agents.sft import IGNORED, fine_tune, response_sequences
from tests.models import small_student

PAIRS = [("couch", "sofa"), ("fridge", "freezer"), ("red", "")]


def test_the_prompt_carries_no_loss():
    student = small_student()
    for row in response_sequences(student.tokenizer, PAIRS):
        counted = [label for label in row["labels"] if label != IGNORED]
        assert counted == row["input_ids"][-len(counted) :]
        assert counted[-1] == student.tokenizer.eos_token_id
    assert sum(label != IGNORED for label in row["labels"]) == 1  # "" is the end token alone


def test_pairs_are_learned_by_heart():
    student = small_student()
    sequences = response_sequences(student.tokenizer, PAIRS * 40)
    result = fine_tune(student.model, student.tokenizer, sequences, learning_rate=5e-3, batch_size=12, epochs=12)
    assert [row[0] for row in student.rewrite([query for query, _ in PAIRS])] == [rewrite for _, rewrite in PAIRS]
    assert result["train_loss"] > 0


def test_a_copy_of_a_fine_tuned_model_runs_on_its_own_weights():
    student = small_student()
    sequences = response_sequences(student.tokenizer, PAIRS)
    fine_tune(student.model, student.tokenizer, sequences, learning_rate=5e-3, batch_size=3)
    twin = copy.deepcopy(student.model)
    with torch.no_grad():
        twin.get_input_embeddings().weight.zero_()
        ids = torch.tensor([[1, 2, 3]])
        assert not torch.equal(twin(input_ids=ids).logits, student.model(input_ids=ids).logits)
