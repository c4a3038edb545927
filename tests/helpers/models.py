"""Small real causal LMs for the tests: an untrained Llama and a tokenizer trained on a few words."""

import copy
from functools import cache

import torch
from torch.nn.utils.rnn import pad_sequence

from agents.policy.student import Student
from agents.supervised.sft import response_sequences
from agents.supervised.tiny import new_model, train_tokenizer

WORDS = "sofa couch settee red blue green running shoes trainers fridge refrigerator freezer black white 0 1 2 3"


@cache
def _tokenizer():
    return train_tokenizer([WORDS, "query: rewrite:"] * 3)


def small_model(hidden=32, layers=2, seed=0):
    """(model, tokenizer): a Llama of about 50,000 parameters, the same for the same seed."""
    tokenizer = _tokenizer()
    return new_model(tokenizer, seed, hidden, layers).eval(), tokenizer


def small_student(seed=0, max_new_tokens=4):
    """An untrained student."""
    model, tokenizer = small_model(seed=seed)
    return Student(model, tokenizer, "small", max_new_tokens)


def student_trained_on(pairs, steps=80):
    """A student overfitted to (query, rewrite) pairs by full-batch AdamW, in a second or two."""
    student = copy_of(small_student())
    rows = response_sequences(student.tokenizer, pairs)
    ids, labels = ([torch.tensor(row[name]) for row in rows] for name in ("input_ids", "labels"))
    batch = {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=student.tokenizer.pad_token_id),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
    }
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        student.model(**batch).loss.backward()
        optimizer.step()
    return student


def copy_of(student):
    """A student with its own copy of the weights."""
    return Student(copy.deepcopy(student.model), student.tokenizer, student.name, student.max_new_tokens)


def same_weights(first, second):
    """True when two models have the same parameters to the bit."""
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
