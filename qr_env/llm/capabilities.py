"""Features of an LLM server, verified by requests: servers answer 200 to fields that they ignore.

    found = probe_capabilities(client, client.endpoints[0], model=None)

- **logprobs**: one token of chat, or of plain completion where there is no chat template, comes with log-probabilities
  of several tokens that are numbers and sum to no more than 1.
- **choice** (`structured_outputs`): the model is asked for one letter, then the same with the choice restricted to
  another letter. Only a server that applies the restriction answers the other one. Whether log-probabilities are taken
  before or after the mask shows in the same reply. vLLM's are taken **after** the grammar's mask (gpu_model_runner.py
  applies the bitmask, then the sampler computes raw_logprobs; 0.32), so there the labels always sum to 1 and carry no
  information on validity, while an unconstrained token's give the true mass. `LLMJudge` therefore prefers the latter.
- **json** (`response_format`): a schema with one unlikely object.
- **tokenize**: /tokenize and /detokenize return the original text.
- **batches**: plain completion answers two prompts in one request, and the chat template's text around a message is
  known: tokenizing it as text gives the tokens of the chat. One request then holds several products, which
  saves most of the overhead of a request at server and client.
- **allowed_tokens** (vLLM's `allowed_token_ids` and `logprob_token_ids`): two tokens are generated with a single token
  id allowed. The reply has the log-probabilities of all requested ids, taken **before** the restriction, so that they
  are those of unconstrained generation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from qr_env.common.messages import print_message
from qr_env.llm.client import Client, Endpoint
from qr_env.llm.dialect import PLAIN, Dialect
from qr_env.llm.failures import Failure
from qr_env.llm.probing import QUESTION, Prober, find_model
from qr_env.llm.replies import Position, read_positions, split

TOP = 20  # log-probabilities asked for: the most that OpenAI and a default vLLM give
FEWER = (10, 8, 5, 4)  # asked for where the server refuses and names no number
LEAST_TOP = 4  # fewer could not hold the four labels
REFUSED = (400, 403, 422)  # statuses of a server that sends fewer log-probabilities, or none
LETTERS = "QZXJ"
UNLIKELY = "B"  # a label letter that no answer to "Say hello." consists of
CODE = "mauve-7"  # no model generates this unprompted
MARK = "qqplaceholderqq"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Features of one server, each verified by a request."""

    url: str
    """base URL that answers, without keys in it"""
    model: str
    """name of the model at the server"""
    version: str = ""
    """version of vLLM; "" for another server"""
    root: str = ""
    """last part of the path or hub name that the model was loaded from; for a Hugging Face cache, its revision"""
    context: int = 0
    """most tokens of prompt and answer together; 0 if unknown"""
    dialect: Dialect = PLAIN
    """how the server wants its requests"""
    top: int = 0
    """log-probabilities per token; 0 without"""
    choice: bool = False
    """constrained decoding works"""
    masked: bool = False
    """log-probabilities of constrained decoding are taken after the mask"""
    json: bool = False
    """replies follow a JSON schema"""
    tokenize: bool = False
    """/tokenize and /detokenize work"""
    batches: bool = False
    """one request may hold several prompts"""
    allowed_tokens: bool = False
    """generation can be restricted to tokens whose unmasked log-probabilities are returned"""
    label_tokens: tuple[tuple[str, int], ...] = ()
    """(text, token id) of every label letter, and of a space and the letter if that is one token"""
    template: tuple[str, str] = ("", "")
    """text of the chat template before and after a message"""

    def tokens_of(self, letters: str) -> list[int]:
        """Ids of letters, with and without a space before them."""
        return [token for text, token in self.label_tokens if text.strip() in letters]

    @property
    def api(self) -> str:
        """The API that generates, "chat" or "completions"."""
        return self.dialect.api

    def request(self, text: str | list[str], **options: object) -> tuple[str, dict[str, Any]]:
        """Path and JSON of a request for text; see `Dialect.request`."""
        return self.dialect.request(self.model, text, **options)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values, for reports."""
        fields = asdict(self)
        return fields.pop("dialect") | fields


def probe_capabilities(client: Client, endpoint: Endpoint, model: str | None, letters: str = "ESCIABD") -> Capabilities:
    """Probe one of the client's servers. letters: label letters. Raises JudgeError if it does not serve the model, or
    nothing generates. What the user should know is printed."""
    prober = Prober(client, endpoint)
    card = find_model(prober, model)
    top, free = _top(prober)
    choice, masked = _choice(prober, free, top)
    tokenize = _tokenize(prober)
    template = _template(prober, tokenize)
    label_tokens = _label_tokens(prober, letters) if tokenize else {}
    for note in prober.notes:
        print_message(f"{endpoint.url} {note}")
    return Capabilities(
        url=endpoint.url,
        model=prober.model,
        version=prober.version or "",
        root=PurePosixPath(str(card.get("root") or "")).name,
        context=int(card.get("max_model_len") or 0),
        dialect=prober.dialect,
        top=top,
        choice=choice,
        masked=masked,
        json=_json(prober),
        tokenize=tokenize,
        batches=template is not None and _batches(prober, template, top),
        allowed_tokens=bool(label_tokens) and _allowed_tokens(prober, label_tokens),
        label_tokens=tuple(label_tokens.items()),
        template=template or ("", ""),
    )


def served_model(client: Client) -> str:
    """Name of the only model of the client's first server. Raises JudgeError unless it lists exactly one."""
    prober = Prober(client, client.endpoints[0])
    find_model(prober, None)
    return prober.model


def _top(prober: Prober) -> tuple[int, Position | None]:
    """Number of log-probabilities a token, 0 without, and the first token of an unconstrained answer.

    A server that refuses to send so many is asked for the number that it names, then for fewer.
    """
    wanted = TOP
    while True:
        free = _first_token(prober, wanted)
        refusal = prober.refusal
        if free is not None or refusal is None:
            break
        if refusal.status not in REFUSED and "logprob" not in refusal.words:
            break
        named = [int(number) for number in re.findall(r"\d+", refusal.words) if LEAST_TOP <= int(number) < wanted]
        fewer = named or [number for number in FEWER if number < wanted]
        if not fewer:
            break
        wanted = max(fewer)
    if free is None or len(free.likely) < LEAST_TOP:
        return 0, free
    return min(len(free.likely), TOP), free


def _first_token(prober: Prober, top: int, **options: object) -> Position | None:
    """First token of the answer to `QUESTION`; None without log-probabilities."""
    reply = prober.generate(QUESTION, max_tokens=1, logprobs=True, top_logprobs=top, **options)
    try:
        return read_positions(reply)[0] if reply else None
    except (Failure, IndexError):
        return None


def _choice(prober: Prober, free: Position | None, top: int) -> tuple[bool, bool]:
    """(constrained decoding works, its log-probabilities are masked)."""
    answer = free.token.strip() if free is not None else ""
    letter = next(letter for letter in LETTERS if letter != answer)
    constraint = {"structured_outputs": {"choice": [letter]}}
    if prober.generated_text(QUESTION, max_tokens=1, **constraint).strip() != letter:
        return False, False
    position = _first_token(prober, top or TOP, **constraint)
    others = [p for token, p in position.likely.items() if token.strip() != letter] if position else []
    return position is not None, position is not None and sum(others) < 1e-6


def _json(prober: Prober) -> bool:
    schema = {"type": "object", "properties": {"code": {"type": "string", "enum": [CODE]}}, "required": ["code"]}
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "code", "schema": schema | {"additionalProperties": False}},
    }
    try:
        return bool(
            json.loads(prober.generated_text("Say hello.", max_tokens=32, response_format=wanted)) == {"code": CODE}
        )
    except ValueError:
        return False


def _tokens(prober: Prober, **request: object) -> list[int]:
    """Token ids; [] if the server does not tokenize."""
    tokens = (prober.ask("/tokenize", {"model": prober.model, **request}) or {}).get("tokens")
    return tokens if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens) else []


def _text(prober: Prober, tokens: list[int]) -> str:
    reply = prober.ask("/detokenize", {"model": prober.model, "tokens": tokens}) or {}
    return str(reply.get("prompt", ""))


def _tokenize(prober: Prober) -> bool:
    text = "red sofa, 3 seats"
    tokens = _tokens(prober, prompt=text, add_special_tokens=False)
    return bool(tokens) and _text(prober, tokens).strip() == text


def _template(prober: Prober, tokenize: bool) -> tuple[str, str] | None:
    """Text of the chat template before and after a message; None if it cannot be determined."""
    if prober.dialect.api == "completions":
        return "", ""
    if not tokenize:
        return None
    options = {"enable_thinking": False}
    chat = _tokens(prober, messages=[{"role": "user", "content": MARK}], chat_template_kwargs=options)
    before, mark, after = _text(prober, chat).partition(MARK) if chat else ("", "", "")
    again = _tokens(prober, prompt=before + MARK + after, add_special_tokens=False) if mark else []
    return (before, after) if again and again == chat else None


def _batches(prober: Prober, template: tuple[str, str], top: int) -> bool:
    """Whether two prompts in one request get the same answers as alone."""
    texts = [template[0] + text + template[1] for text in (QUESTION, "Say hello.")]
    options = {"max_tokens": 1, "logprobs": True, "top_logprobs": max(top, 1)}
    options |= {"add_special_tokens": False} if template[0] else {}
    reply = prober.ask(*replace(prober.dialect, api="completions").request(prober.model, texts, **options))
    try:
        both = [read_positions(part)[0] for part in split(reply or {}, 2)]
    except (Failure, IndexError):
        return False
    alone = _first_token(prober, max(top, 1))
    return alone is not None and alone.token.strip() == both[0].token.strip()


def _label_tokens(prober: Prober, letters: str) -> dict[str, int]:
    """Id of each letter, and of a space and the letter; empty if a letter is not one token."""
    ids = {text: _tokens(prober, prompt=text, add_special_tokens=False) for one in letters for text in (one, f" {one}")}
    if any(len(ids[letter]) != 1 for letter in letters):
        return {}
    return {text: tokens[0] for text, tokens in ids.items() if len(tokens) == 1}


def _allowed_tokens(prober: Prober, ids: Mapping[str, int]) -> bool:
    """Whether generation can be restricted to an unlikely token, with unmasked probabilities of all label tokens."""
    letter = UNLIKELY
    limits = {"max_tokens": 2, "min_tokens": 2, "allowed_token_ids": [ids[letter]]}
    reply = prober.generate("Say hello.", logprobs=True, top_logprobs=1, logprob_token_ids=[*ids.values()], **limits)
    try:
        positions = read_positions(reply or {})
    except Failure:
        return False
    return [position.token.strip() for position in positions] == [letter] * 2 and all(
        position.likely.keys() >= set(ids) and sum(position.likely.values()) < 0.99 for position in positions
    )
