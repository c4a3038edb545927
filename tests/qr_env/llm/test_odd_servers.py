"""Servers that differ from vLLM: paths, limits, refused fields, streams, lists of models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qr_env.common.errors import JudgeError
from qr_env.llm.streams import joined
from tests.helpers.odd_server import Answer, OddServer, Request, probe, refusal, streamed

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("no_settings")]


@pytest.mark.parametrize(
    ("prefix", "pasted"),
    [("/v1", tail) for tail in ("", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/models", "/docs")]
    + [("/v1beta/openai", "/v1beta/openai"), ("/v1beta/openai", "/v1beta/openai/chat/completions")]
    + [
        ("/api", "/api"),
        ("/v1", "/api"),
        ("/api/v1", "/api"),
        ("/api/v3", "/api/v3"),
        ("", ""),
        ("", "/v1"),
        ("", "/chat/completions"),
    ],
)
def test_the_api_is_found_from_what_was_pasted(prefix: str, pasted: str) -> None:
    with OddServer(prefix) as server:
        for start in (f"http://{server.host}", server.host):
            found = probe(start + pasted)
            assert (found.model, found.url, found.top) == ("m", server.url, 20)


def test_a_query_string_is_sent_with_every_request() -> None:
    with OddServer("/openai/deployments/d", models=None) as server:
        assert probe(f"{server.url}/chat/completions?api-version=2024-10-21").model == "m-2026"
        assert {request.query for request in server.seen} == {"api-version=2024-10-21"}


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (5, "Cannot request more than {limit} logprobs."),
        (5, "Invalid value for 'top_logprobs': must be less than or equal to {limit}."),
        (5, "top_logprobs is too large"),
        (8, "Requested sample logprobs of 20, which is greater than max allowed: {limit}"),
        (4, "20 is greater than the maximum of {limit} - 'logprobs'"),
        (4, "no"),
        (19, "top_logprobs must be <= {limit}"),
    ],
)
def test_a_server_with_a_limit_is_asked_for_as_many_as_it_sends(limit: int, message: str) -> None:
    with OddServer(limit=limit, limit_message=message) as server:
        assert probe(server.url).top == limit
        assert len([body for body in server.asked() if body.get("top_logprobs", 0) > limit]) < 5


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_too_few_log_probabilities_are_none(limit: int) -> None:
    with OddServer(limit=limit) as server:
        assert probe(server.url).top == 0


def refusing(*rules: tuple[str, int, str]) -> Any:
    """A check that refuses a chat request with one of these fields."""

    def check(request: Request) -> Answer | None:
        return next((refusal(status, words) for field, status, words in rules if field in request.body), None)

    return check


TOKENS = (
    "max_tokens",
    400,
    "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
)
COOL = ("temperature", 400, "Unsupported value: 'temperature' does not support 0 with this model.")


@pytest.mark.parametrize(
    ("rules", "fields"),
    [
        ([TOKENS], {"limit": "max_completion_tokens", "greedy": True}),
        ([COOL], {"limit": "max_tokens", "greedy": False}),
        ([TOKENS, COOL], {"limit": "max_completion_tokens", "greedy": False}),
        ([("temperature", 422, "Bad Request")], {"greedy": False, "stream": False}),
        ([("max_tokens", 400, "invalid request")], {"limit": "max_completion_tokens", "greedy": True}),
    ],
)
def test_a_refused_field_is_left_out_from_then_on(
    rules: list[Any], fields: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with OddServer(check=refusing(*rules)) as server:
        found = probe(server.url)
        assert {name: found.as_dict()[name] for name in fields} == fields and found.top == 20
        _, body = found.request("hello", max_tokens=3)
        assert body[found.dialect.limit] == 3 and ("temperature" in body) == found.dialect.greedy
    assert ("refuses temperature 0" in capsys.readouterr().err) == (not found.dialect.greedy)


def test_a_least_number_of_tokens_is_kept() -> None:
    def check(request: Request) -> Answer | None:
        return refusal(400, "max_tokens must be at least 16") if request.body["max_tokens"] < 16 else None

    with OddServer(check=check) as server:
        assert probe(server.url).dialect.least_tokens == 16


@pytest.mark.parametrize(
    "words", ["This model only support stream mode, please enable the stream parameter", "refused"]
)
def test_a_server_that_streams_alone_is_asked_for_a_stream(words: str) -> None:
    class Streaming(OddServer):
        def respond(self, request: Request) -> Answer:
            answer = super().respond(request)
            if answer.status != 200 or request.method == "GET":
                return answer
            return streamed(answer.body) if request.body.get("stream") else refusal(400, words)

    with Streaming() as server:
        found = probe(server.url)
        assert found.dialect.stream and found.top == 20 and found.api == "chat"


def test_a_stream_that_nobody_asked_for_is_read() -> None:
    with OddServer() as server:
        whole = server.chat({"messages": [], "logprobs": True}, 5)
        assert joined(streamed(whole).body) == whole | {"choices": [dict(whole["choices"][0])]}
    with pytest.raises(ValueError, match="no event"):
        joined("data: [DONE]\n")
    assert joined('data: {"error": {"message": "busy"}}\n')["error"] == {"message": "busy"}


def test_refused_log_probabilities_are_no_wrong_key() -> None:
    rule = ("logprobs", 403, "You are not allowed to request logprobs from this model")
    with OddServer(check=refusing(rule)) as server:
        assert probe(server.url).top == 0


def test_refused_constraints_are_features_that_are_not_there() -> None:
    rules = [(name, 400, f"Unknown parameter: '{name}'") for name in ("structured_outputs", "response_format")]
    with OddServer(check=refusing(*rules)) as server:
        found = probe(server.url)
        assert (found.top, found.choice, found.json) == (20, False, False)


@pytest.mark.parametrize(
    ("models", "model", "message"),
    [
        (("a", "b"), None, "lists 2 models, a, b: name one with QR_JUDGE_MODEL"),
        (tuple(f"m{n}" for n in range(93)), None, "lists 93 models, m0, .* m9 and 83 more: name one"),
        ((), None, "lists no models: load one, or, if it hides them, name one with QR_JUDGE_MODEL"),
    ],
)
def test_models_that_need_a_choice_are_named(models: tuple[str, ...], model: str | None, message: str) -> None:
    with OddServer(models=models) as server, pytest.raises(JudgeError, match=message):
        probe(server.url, model)


def test_a_wrong_model_is_told_with_the_nearest() -> None:
    def check(request: Request) -> Answer | None:
        return None if request.body["model"] == "qwen3:4b" else refusal(404, "model not found, try pulling it first")

    with OddServer(models=("qwen3:4b", "llama3"), check=check) as server:
        with pytest.raises(
            JudgeError, match=r"has no model 'qwen3'; it serves qwen3:4b, llama3: did you mean 'qwen3:4b'"
        ):
            probe(server.url, "qwen3")
        assert probe(server.url, "qwen3:4b").model == "qwen3:4b"


def test_a_model_that_is_not_listed_counts_if_it_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with OddServer(models=("models/gemini",)) as server:
        assert probe(server.url, "gemini").model == "gemini"
    assert "answers to the model 'gemini', which is not in its list (models/gemini)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "body",
    [
        [{"id": "m"}],  # Together
        {"models": [{"name": "m", "model": "m"}]},  # Ollama
        {"object": "list", "data": ["m"]},
    ],
)
def test_other_forms_of_a_list_of_models_are_read(body: Any) -> None:
    class Listing(OddServer):
        def respond(self, request: Request) -> Answer:
            return Answer(body=body) if request.path.endswith("/models") else super().respond(request)

    with Listing() as server:
        assert probe(server.url).model == "m"


def test_without_a_list_of_models_a_question_decides(capsys: pytest.CaptureFixture[str]) -> None:
    with OddServer(models=None) as server:
        found = probe(f"http://{server.host}")
        assert found.model == "m-2026" and "model" not in server.asked()[-1]
        assert probe(f"http://{server.host}", "other").model == "other" and server.asked()[-1]["model"] == "other"
    assert "lists no models" in capsys.readouterr().err


def test_without_a_list_a_server_that_wants_a_name_says_so() -> None:
    def check(request: Request) -> Answer | None:
        return None if "model" in request.body else refusal(400, "you must provide a model parameter")

    with OddServer(models=None, check=check) as server:
        with pytest.raises(JudgeError, match=r"you must provide a model parameter.*name one with QR_JUDGE_MODEL"):
            probe(server.url)
        assert probe(server.url, "m").top == 20


def test_a_server_that_loads_its_model_is_named_soon() -> None:
    with OddServer(answer=lambda _: refusal(503, "Loading model")) as server:
        with pytest.raises(JudgeError, match=r"http_503: .*Loading model: the server is starting or overloaded"):
            probe(server.url)
        assert len(server.seen) == 3


def test_a_byte_order_mark_before_json_is_left_out() -> None:
    with OddServer() as server:
        plain = server.respond
        server.answer = lambda request: Answer(plain(request).status, "\ufeff" + json.dumps(plain(request).body))
        assert probe(server.url).top == 20


def test_a_limit_of_log_probabilities_may_be_an_error_of_the_server() -> None:
    def check(request: Request) -> Answer | None:
        return refusal(500, "at most 5 logprobs") if (request.body.get("top_logprobs") or 0) > 5 else None

    with OddServer(check=check) as server:
        assert probe(server.url).top == 5
