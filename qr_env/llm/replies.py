"""Read label probabilities from a server's reply: pure functions from JSON to probabilities, or a `Failure`.

    text, positions = read_choice(reply)
    masses_4, unseen = label_masses(positions[0], "ICSE")

Nothing is guessed: an invalid reply is a Failure, and its pairs are missing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qr_env.llm.failures import Failure

ROUNDING = 0.01  # rounded probabilities may sum to 1 plus this
FENCE = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*```\s*\Z", re.DOTALL)  # around JSON in a model's answer
Masses = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Position:
    """One generated token and its likeliest alternatives."""

    token: str
    """the generated token"""
    likely: dict[str, float]
    """likeliest tokens at this position → probability, not normalised"""


def read_choice(reply: Mapping[str, Any]) -> tuple[str, str]:
    """Text and finish reason of a reply to /v1/chat/completions or /v1/completions."""
    try:
        choice = reply["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        reason = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Failure("bad_reply", f"no choice with a text in {reply!r:.200}") from error
    if isinstance(text, list):  # parts, of which a text may be one
        text = "".join(str(part.get("text") or "") for part in text if isinstance(part, dict))
    return text if isinstance(text, str) else "", str(reason)


def split(reply: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Split the reply to a request with `count` prompts into one reply a prompt, in their order."""
    try:
        choices = {int(choice["index"]): choice for choice in reply["choices"]}
        parts = [{"choices": [choices[n]]} for n in range(count)]
    except (KeyError, TypeError, ValueError) as error:
        raise Failure("bad_reply", f"no {count} choices in {reply!r:.200}") from error
    if len(reply["choices"]) != count:
        raise Failure("bad_reply", f"{len(reply['choices'])} choices for {count} prompts")
    return parts


def read_positions(reply: Mapping[str, Any]) -> list[Position]:
    """The generated tokens with their log-probabilities, from either API."""
    text, _ = read_choice(reply)
    logprobs = reply["choices"][0].get("logprobs")
    try:
        if not logprobs:
            raise Failure("no_logprobs", f"the server sent none with {text!r:.50}")
        if "content" in logprobs:
            return [
                _position(e["token"], [(t["token"], t["logprob"]) for t in e["top_logprobs"]])
                for e in logprobs["content"]
            ]
        return [
            _position(token, list(likely.items()))
            for token, likely in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Failure("bad_logprobs", f"{logprobs!r:.200}") from error


def _position(token: str, likely: Sequence[tuple[str, float]]) -> Position:
    # Tokens of different ids may have the same text (bytes of a broken character): keep the likelier.
    probs: dict[str, float] = {}
    for text, logprob in likely:
        if not isinstance(logprob, (int, float)) or math.isnan(logprob) or logprob > ROUNDING:
            raise Failure("bad_logprobs", f"{logprob!r} as the log-probability of {text!r}")
        probs[str(text)] = max(math.exp(min(logprob, 0.0)), probs.get(str(text), 0.0))
    if not probs:
        raise Failure("no_logprobs", f"none at the token {token!r}")
    if sum(probs.values()) > 1 + ROUNDING:
        raise Failure("bad_logprobs", f"probabilities that sum to {sum(probs.values()):.3f}")
    return Position(str(token), probs)


def label_masses(position: Position, letters: str) -> tuple[Masses, float]:
    """Probability of each label's letter, (4,) by level, and an upper bound for letters that are not listed.

    White space around a letter is ignored. NaN where the letter is not listed; the bound is the smaller of the least
    listed probability and the remaining mass.
    """
    masses_4 = np.full(len(letters), np.nan)
    for token, prob in position.likely.items():
        letter = token.strip()
        if len(letter) == 1 and letter in letters:
            level = letters.index(letter)
            masses_4[level] = np.nan_to_num(masses_4[level]) + prob
    left = 1.0 - sum(position.likely.values())
    return masses_4, max(min(left, min(position.likely.values())), 0.0)


def letter_positions(positions: Sequence[Position], letters: str, count: int) -> list[Position]:
    """The `count` tokens that are label letters, in order; only white space may stand between them."""
    labels = []
    for position in positions:
        token = position.token.strip()
        if len(token) == 1 and token in letters:
            labels.append(position)
        elif token:
            raise Failure("bad_label", f"{position.token!r} is none of {', '.join(letters)}")
        if len(labels) == count:
            return labels
    raise Failure("wrong_count", f"{len(labels)} labels for {count} products")


def grade_schema(letters: str, reason: bool) -> dict[str, Any]:
    """JSON schema of a reply with a grade."""
    grade = {"type": "string", "enum": list(letters)}
    fields = {"reason": {"type": "string", "maxLength": 300}, "grade": grade} if reason else {"grade": grade}
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def read_grade(reply: Mapping[str, Any], letters: str, reason: bool) -> Masses:
    """(4,) one-hot level of a JSON reply that follows `grade_schema`."""
    text, finish = read_choice(reply)
    if finish == "length":
        raise Failure("truncated", f"the reply was cut: {text!r:.100}")
    try:
        parsed = json.loads(FENCE.sub(r"\1", text))
    except ValueError as error:
        raise Failure("bad_schema", f"no JSON: {text!r:.100}") from error
    fields = {"reason", "grade"} if reason else {"grade"}
    if not isinstance(parsed, dict) or set(parsed) != fields or not all(isinstance(v, str) for v in parsed.values()):
        raise Failure("bad_schema", f"expected {sorted(fields)}, got {text!r:.100}")
    grade = parsed["grade"]
    if len(grade) != 1 or grade not in letters:
        raise Failure("bad_label", f"{grade!r} is none of {', '.join(letters)}")
    return np.eye(len(letters))[letters.index(grade)]


def usage(reply: Mapping[str, Any]) -> dict[str, float]:
    """Token counts in the reply, by kind; missing ones are left out."""
    reported = reply.get("usage")
    reported = reported if isinstance(reported, dict) else {}
    details = reported.get("prompt_tokens_details")
    counts = {
        "tokens__prompt": reported.get("prompt_tokens"),
        "tokens__completion": reported.get("completion_tokens"),
        "tokens__cached": details.get("cached_tokens") if isinstance(details, dict) else None,
    }
    return {name: count for name, count in counts.items() if isinstance(count, (int, float))}
