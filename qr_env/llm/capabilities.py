"""Features of an LLM server, verified by requests: servers answer 200 to fields that they ignore.

    found = probe_capabilities(client, "http://127.0.0.1:8000", model=None)

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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from qr_env.common.errors import JudgeError
from qr_env.llm.client import Client, Failure
from qr_env.llm.replies import Position, read_choice, read_positions, split

TOP = 20  # log-probabilities asked for: the most that OpenAI and a default vLLM give
LEAST_TOP = 4  # fewer could not hold the four labels
TRIES = 3
QUESTION = "Answer with one capital letter of the alphabet, nothing else."
LETTERS = "QZXJ"
UNLIKELY = "B"  # a label letter that no answer to "Say hello." consists of
CODE = "mauve-7"  # no model generates this unprompted
MARK = "qqplaceholderqq"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Features of one server, each verified by a request."""

    url: str
    """base URL without /v1"""
    model: str
    """name of the model at the server"""
    version: str = ""
    """version of vLLM; "" for another server"""
    root: str = ""
    """last part of the path or hub name that the model was loaded from; for a Hugging Face cache, its revision"""
    context: int = 0
    """most tokens of prompt and answer together; 0 if unknown"""
    api: str = "chat"
    """the API that generates, "chat" or "completions\""""
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

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values, for reports."""
        return asdict(self)


def generation_request(
    api: str, vllm: bool, model: str, text: str | list[str], **options: object
) -> tuple[str, dict[str, Any]]:
    """Path and JSON of a greedy generation request without thinking: one user message, or for plain completion one or
    several texts."""
    request: dict[str, Any] = {"model": model, "temperature": 0, **options}
    if api == "completions":
        if request.pop("logprobs", False):
            request["logprobs"] = request.pop("top_logprobs")
        return "/v1/completions", {**request, "prompt": text}
    if vllm:
        request["chat_template_kwargs"] = {"enable_thinking": False}
    return "/v1/chat/completions", {**request, "messages": [{"role": "user", "content": text}]}


def probe_capabilities(client: Client, url: str, model: str | None, letters: str = "ESCIABD") -> Capabilities:
    """Probe the server at `url`. letters: label letters. Raises JudgeError if it does not serve the model, or nothing
    generates."""
    prober = _Prober(client, url)
    version = (prober.ask("/version") or {}).get("version", "")
    card = _card(prober, model)
    prober.model, prober.vllm = str(card["id"]), bool(version)
    prober.api, free = _api(prober)
    top = len(free.likely) if free is not None and len(free.likely) >= LEAST_TOP else 0
    choice, masked = _choice(prober, free)
    tokenize = _tokenize(prober)
    template = _template(prober, tokenize)
    label_tokens = _label_tokens(prober, letters) if tokenize else {}
    return Capabilities(
        url=url,
        model=prober.model,
        version=str(version),
        root=PurePosixPath(str(card.get("root") or "")).name,
        context=int(card.get("max_model_len") or 0),
        api=prober.api,
        top=min(top, TOP),
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
    return str(_card(_Prober(client, client.endpoints[0].url), None)["id"])


class _Prober:
    """Sends probing requests to one server; a refused request returns None."""

    def __init__(self, client: Client, url: str) -> None:
        self.client, self.url = client, url
        self.model, self.vllm, self.api = "", False, "chat"
        self.refusal = ""

    def ask(self, path: str, request: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The reply, or None if the server refuses. Raises JudgeError if it does not answer."""
        for attempt in range(TRIES):
            try:
                return self.client.ask(self.url, path, request)
            except Failure as failure:
                self.refusal = str(failure)
                if failure.status in (401, 403):
                    raise JudgeError(f"{failure}: give the key with api_key=, or QR_JUDGE_KEY") from failure
                gone = failure.kind in ("connect", "timeout")
                if not gone and (not failure.transient or attempt == TRIES - 1):
                    return None
                if attempt == TRIES - 1:
                    raise JudgeError(
                        f"{failure}: is the judge's server up? `qr judge serve MODEL` starts one"
                    ) from failure
                self.client.wait(failure, attempt)
        raise AssertionError("unreachable")

    def generate(self, text: str, **options: object) -> dict[str, Any] | None:
        """Reply to one user message."""
        return self.ask(*generation_request(self.api, self.vllm, self.model, text, **options))

    def generated_text(self, text: str, **options: object) -> str:
        """Text of the reply to one user message; "" without one."""
        reply = self.generate(text, **options)
        try:
            return read_choice(reply or {})[0]
        except Failure:
            return ""

    def first_token(self, **options: object) -> Position | None:
        """First token of the answer to `QUESTION`; None without log-probabilities."""
        reply = self.generate(QUESTION, max_tokens=1, logprobs=True, top_logprobs=TOP, **options)
        try:
            return read_positions(reply)[0] if reply else None
        except (Failure, IndexError):
            return None


def _card(prober: _Prober, model: str | None) -> dict[str, Any]:
    """The server's description of the model."""
    listed = (prober.ask("/v1/models") or {}).get("data") or []
    cards = {str(card["id"]): card for card in listed if isinstance(card, dict) and "id" in card}
    if model is None and len(cards) == 1:
        return dict(next(iter(cards.values())))
    if model is None:
        raise JudgeError(f"{prober.url} lists {list(cards) or 'no models'}: name one with model=, or QR_JUDGE_MODEL")
    if cards and model not in cards:
        raise JudgeError(f"{prober.url} has no model {model!r}; it serves {', '.join(cards)}")
    return dict(cards.get(model, {"id": model}))


def _api(prober: _Prober) -> tuple[str, Position | None]:
    """The API that generates, and the first token of its unconstrained answer."""
    for api in ("chat", "completions"):
        prober.api = api
        if prober.generate(QUESTION, max_tokens=1) is not None:
            return api, prober.first_token()
    raise JudgeError(f"{prober.url} generates nothing with {prober.model!r}: {prober.refusal}")


def _choice(prober: _Prober, free: Position | None) -> tuple[bool, bool]:
    """(constrained decoding works, its log-probabilities are masked)."""
    answer = free.token.strip() if free is not None else ""
    letter = next(letter for letter in LETTERS if letter != answer)
    constraint = {"structured_outputs": {"choice": [letter]}}
    if prober.generated_text(QUESTION, max_tokens=1, **constraint).strip() != letter:
        return False, False
    position = prober.first_token(**constraint)
    others = [p for token, p in position.likely.items() if token.strip() != letter] if position else []
    return position is not None, position is not None and sum(others) < 1e-6


def _json(prober: _Prober) -> bool:
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


def _tokens(prober: _Prober, **request: object) -> list[int]:
    """Token ids; [] if the server does not tokenize."""
    tokens = (prober.ask("/tokenize", {"model": prober.model, **request}) or {}).get("tokens")
    return tokens if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens) else []


def _text(prober: _Prober, tokens: list[int]) -> str:
    reply = prober.ask("/detokenize", {"model": prober.model, "tokens": tokens}) or {}
    return str(reply.get("prompt", ""))


def _tokenize(prober: _Prober) -> bool:
    text = "red sofa, 3 seats"
    tokens = _tokens(prober, prompt=text, add_special_tokens=False)
    return bool(tokens) and _text(prober, tokens).strip() == text


def _template(prober: _Prober, tokenize: bool) -> tuple[str, str] | None:
    """Text of the chat template before and after a message; None if it cannot be determined."""
    if prober.api == "completions":
        return "", ""
    if not tokenize:
        return None
    options = {"enable_thinking": False}
    chat = _tokens(prober, messages=[{"role": "user", "content": MARK}], chat_template_kwargs=options)
    before, mark, after = _text(prober, chat).partition(MARK) if chat else ("", "", "")
    again = _tokens(prober, prompt=before + MARK + after, add_special_tokens=False) if mark else []
    return (before, after) if again and again == chat else None


def _batches(prober: _Prober, template: tuple[str, str], top: int) -> bool:
    """Whether two prompts in one request get the same answers as alone."""
    texts = [template[0] + text + template[1] for text in (QUESTION, "Say hello.")]
    options = {"max_tokens": 1, "logprobs": True, "top_logprobs": max(top, 1)}
    options |= {"add_special_tokens": False} if template[0] else {}
    reply = prober.ask(*generation_request("completions", prober.vllm, prober.model, texts, **options))
    try:
        both = [read_positions(part)[0] for part in split(reply or {}, 2)]
    except (Failure, IndexError):
        return False
    alone = prober.first_token()
    return alone is not None and alone.token.strip() == both[0].token.strip()


def _label_tokens(prober: _Prober, letters: str) -> dict[str, int]:
    """Id of each letter, and of a space and the letter; empty if a letter is not one token."""
    ids = {text: _tokens(prober, prompt=text, add_special_tokens=False) for one in letters for text in (one, f" {one}")}
    if any(len(ids[letter]) != 1 for letter in letters):
        return {}
    return {text: tokens[0] for text, tokens in ids.items() if len(tokens) == 1}


def _allowed_tokens(prober: _Prober, ids: Mapping[str, int]) -> bool:
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
