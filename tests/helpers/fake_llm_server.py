"""A fake vLLM server with OpenAI's HTTP API on loopback, which injects faults as a test requests.

    with FakeLLMServer() as server:
        server.faults.extend(["500", "hang", "reset"])   # faults of the next generations, one each; "": none
        LLMJudge(server.url).grade_pairs(pairs)
        server.kill(); server.start()                    # closes all connections; then listens on the same port again
    server.delay = 0.1                               # seconds before every reply
    server.gather = 64                               # no reply before this many requests are in flight

Its model grades by words: Exact where a product has all words of the query, Substitute where it has some, else
Irrelevant (`true_level`). It answers with the letters that the prompt assigns to the grades, so a judge that mixes them
up fails its test. A token is a character, its id the code point.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import socket
import struct
import sys
import threading
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MASS = 0.9  # total probability of the labels; the rest is for "The"
SHARES = {True: 0.7, False: 0.1}  # of that mass, for the true label and for each other one
TEMPLATE = ("<|user|>", "<|end|><|assistant|>")
LEVELS = ("Irrelevant", "Complement", "Substitute", "Exact")


def true_level(query: str, product: str) -> int:
    """The grade that the model gives."""
    query_words, words = set(query.lower().split()), set(re.findall(r"\w+", product.lower()))
    return 3 if query_words <= words else 2 if query_words & words else 0


class FakeLLMServer:
    """The server.

    Features: vllm (has /version and /tokenize), obeys (constrained decoding), masked (log-probabilities are taken after
    the constraint), chat (has a chat template), logprobs (sends them, `top` at most), batches (takes several prompts in
    one request), favours_first (share of the mass that the label listed first gets whatever the truth), key (bearer
    token that it requires).
    """

    def __init__(self, **features: Any) -> None:
        self.vllm = self.obeys = self.masked = self.chat = self.logprobs = self.batches = True
        self.favours_first, self.key, self.model, self.top = 0.0, "", "play-1b", 20
        for name, value in features.items():
            if not hasattr(self, name):
                raise TypeError(f"no feature {name!r}")
            setattr(self, name, value)
        self.faults: deque[str] = deque()
        self.always = ""
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.answered: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.delay = 0.0
        self.gather = 0
        self.gathered = threading.Event()
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        self.port = 0
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Listen; after a restart on the same port."""
        self.stopped = threading.Event()
        self.http = _Http(("127.0.0.1", self.port), _handler(self))
        self.port = self.http.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def kill(self) -> None:
        """As kill −9: close the port and all connections."""
        self.stopped.set()
        self.http.shutdown()
        self.http.server_close()
        with self.lock:
            dying = list(self.open)
        for connection in dying:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # ends its handler's read or write

    def fault(self) -> str:
        """Fault of the next generation, "" for none."""
        with self.lock:
            return self.faults.popleft() if self.faults else self.always

    def prompts(self) -> list[str]:
        """Prompts of all generations so far."""
        bodies = [body for path, body in self.seen if path.endswith("completions")]
        texts = [body.get("prompt") or body["messages"][0]["content"] for body in bodies]
        return [text for each in texts for text in ([each] if isinstance(each, str) else each)]


class _Http(ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of closed connections."""
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)


def _reset(connection: socket.socket) -> None:
    """Make the client see a reset instead of an end when the handler closes the connection."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _handler(outer: FakeLLMServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with outer.lock:
                outer.open.add(self.connection)

        def finish(self) -> None:
            with outer.lock:
                outer.open.discard(self.connection)
            super().finish()

        def do_GET(self) -> None:
            self.reply(*get(outer, self.path, self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with outer.lock:
                outer.seen.append((self.path, body))
                outer.in_flight += 1
                outer.most_in_flight = max(outer.most_in_flight, outer.in_flight)
                if outer.in_flight >= outer.gather:
                    outer.gathered.set()
            outer.stopped.wait(outer.delay)
            outer.gathered.wait(20)
            try:
                self.respond(body)
            finally:
                with outer.lock:
                    outer.in_flight -= 1

        def respond(self, body: dict[str, Any]) -> None:
            generates = self.path.endswith("completions")
            fault = outer.fault() if generates else ""
            with outer.lock:
                outer.answered[fault] += generates
            status, reply = post(outer, self.path, body, self.headers.get("Authorization", ""))
            if fault == "hang":
                outer.stopped.wait(30)
            if fault in ("hang", "reset"):
                self.close_connection = True
                _reset(self.connection)
                return
            headers = {}
            if fault[:3].isdigit():
                code, _, after = fault.partition(":")
                status, reply = int(code), {"error": {"message": f"injected fault: {code}"}}
                headers = {"Retry-After": after} if after else {}
            elif status == 200 and fault:
                reply = faulty_reply(reply, fault)
            self.reply(status, reply, headers, fault)

        def reply(self, status: int, reply: Any, headers: dict[str, str] | None = None, fault: str = "") -> None:
            data = json.dumps(reply).encode()
            if fault == "malformed":
                data = data[: len(data) // 2]
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
            self.close_connection = self.close_connection or fault == "cut"

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def faulty_reply(reply: dict[str, Any], fault: str) -> Any:
    """A faulty reply with status 200."""
    if fault == "cut" or fault == "malformed":
        return reply
    if fault == "not_an_object":
        return [reply]
    if fault == "no_choices":
        return {**reply, "choices": []}
    choice = reply["choices"][0]
    if fault == "no_logprobs":
        return {**reply, "choices": [{**choice, "logprobs": None}]}
    tokens: dict[str, dict[str, Any]] = {
        "other_labels": {"X": -0.2, "Y": -2.0},
        "impossible": {"E": 0.7, "S": 0.1},
        "not_a_number": {"E": "high"},
    }
    if fault in tokens:
        return {**reply, "choices": [_choice("X", [("X", tokens[fault])], "chat" if "message" in choice else "text")]}
    if fault == "cut_text":
        return {**reply, "choices": [{**choice, "message": {"content": '{"grade": "'}, "finish_reason": "length"}]}
    assert fault.startswith("says:"), fault
    return {**reply, "choices": [{**choice, "message": {"content": fault[5:]}}]}


def get(outer: FakeLLMServer, path: str, authorization: str) -> tuple[int, Any]:
    """Reply to a GET request: /version and /v1/models."""
    if outer.key and authorization != f"Bearer {outer.key}":
        return 401, {"error": {"message": "a key is needed"}}
    if path == "/version" and outer.vllm:
        return 200, {"version": "0.32.0"}
    if path == "/v1/models":
        card = {"id": outer.model, "object": "model", "root": f"/models/{outer.model}", "max_model_len": 2048}
        return 200, {"object": "list", "data": [card]}
    return 404, {"error": {"message": f"no {path}"}}


def post(outer: FakeLLMServer, path: str, body: dict[str, Any], authorization: str) -> tuple[int, Any]:
    """Reply to a POST request."""
    if outer.key and authorization != f"Bearer {outer.key}":
        return 401, {"error": {"message": "a key is needed"}}
    if body.get("model") != outer.model:
        return 404, {"error": {"message": f"The model `{body.get('model')}` does not exist."}}
    if path == "/v1/chat/completions" and outer.chat:
        return 200, generate(outer, body["messages"][0]["content"], body, "chat")
    if path == "/v1/completions":
        if not isinstance(body["prompt"], str) and not outer.batches:
            return 400, {"error": {"message": "prompt: a string is expected"}}
        if isinstance(body["prompt"], str):
            return 200, generate(outer, body["prompt"], body, "text")
        each = [generate(outer, prompt, body, "text") for prompt in body["prompt"]]
        used: dict[str, Any] = {"prompt_tokens_details": {"cached_tokens": 16 * len(each)}}
        used |= {name: sum(r["usage"][name] for r in each) for name in ("prompt_tokens", "completion_tokens")}
        choices = [{**reply["choices"][0], "index": n} for n, reply in enumerate(each)]
        return 200, {**each[0], "choices": choices[::-1], "usage": used}
    if outer.vllm and path == "/tokenize":
        text = body["prompt"] if "prompt" in body else TEMPLATE[0] + body["messages"][0]["content"] + TEMPLATE[1]
        return 200, {"tokens": [ord(character) for character in text], "count": len(text), "max_model_len": 2048}
    if outer.vllm and path == "/detokenize":
        return 200, {"prompt": "".join(map(chr, body["tokens"]))}
    return 404, {"error": {"message": f"no {path}"}}


def token_probs(outer: FakeLLMServer, prompt: str) -> list[dict[str, float]]:
    """Probability of each token, for each position of the answer."""
    letters = dict(re.findall(r"^([A-Z]) = (\w+):", prompt, re.MULTILINE))
    if not letters:
        return [{"A": 0.8, "The": 0.1, "B": 0.05, "E": 0.03, "Yes": 0.01}]
    query = re.search(r"^Query: (.*)$", prompt, re.MULTILINE)[1]  # type: ignore[index]
    many = re.findall(r"^(\d+): (.*)$", prompt, re.MULTILINE)
    one = re.findall(r"^\(([a-z]+)\)\s(.*)\s\(/\1\)$", prompt, re.MULTILINE)
    return [_label_probs(outer, letters, LEVELS[true_level(query, product)]) for _, product in many or one]


def _label_probs(outer: FakeLLMServer, letters: dict[str, str], truth: str) -> dict[str, float]:
    graded = MASS * (1 - outer.favours_first)
    probs = {letter: graded * SHARES[name == truth] for letter, name in letters.items()}
    probs[next(iter(letters))] += MASS * outer.favours_first
    return {**probs, "The": 1 - MASS}


def generate(outer: FakeLLMServer, prompt: str, body: dict[str, Any], api: str) -> dict[str, Any]:
    """A reply of either API: JSON where a schema asks for it, else the likeliest tokens that the constraint allows."""
    places = token_probs(outer, prompt)
    constraint = body.get("structured_outputs", {}) if outer.obeys else {}
    wanted = body.get("response_format", {}).get("json_schema", {}).get("schema") if outer.obeys else None
    if wanted or '{"' in prompt:
        best = max(places[0], key=lambda token: places[0][token])
        fields = {name: spec.get("enum", ["why"])[0] for name, spec in (wanted or {}).get("properties", {}).items()}
        text = json.dumps({**fields, "grade": best} if "grade" in fields or not wanted else fields)
        choice = _choice(text, [], api)
    else:
        allowed = constraint.get("choice") or re.findall(r"[A-Z]", constraint.get("regex", "")) or None
        answer = [
            _next_token(outer, place, allowed, body.get("top_logprobs") or body.get("logprobs")) for place in places
        ]
        spaced = [(token if n == 0 else f" {token}", likely) for n, (token, likely) in enumerate(answer)]
        choice = _choice("".join(token for token, _ in spaced), spaced, api)
    if not outer.logprobs or not body.get("logprobs"):
        choice["logprobs"] = None
    tokens = {"prompt_tokens": len(prompt), "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 16}}
    return {"model": outer.model, "choices": [choice], "usage": tokens}


def _next_token(
    outer: FakeLLMServer, probs: dict[str, float], allowed: list[str] | None, top: int | None
) -> tuple[str, dict[str, float]]:
    """The likeliest allowed token, and the log-probabilities of the `top` likeliest tokens."""
    within = {token: probs.get(token, 1e-6) for token in allowed or probs}
    token = max(within, key=lambda t: within[t])
    if allowed and outer.masked:
        probs = {t: p / sum(within.values()) for t, p in within.items()} | {"The": 0.0, "A ": 0.0, "An": 0.0}
    best = sorted(probs.items(), key=lambda item: -item[1])[: min(top or 1, outer.top)]
    return token, {t: math.log(p) if p else -9999.0 for t, p in best}


def _choice(text: str, answer: list[tuple[str, dict[str, float]]], api: str) -> dict[str, Any]:
    if api == "text":
        logprobs: dict[str, Any] = {"tokens": [t for t, _ in answer], "top_logprobs": [likely for _, likely in answer]}
        return {"index": 0, "text": text, "finish_reason": "stop", "logprobs": logprobs}
    content = [
        {"token": token, "logprob": 0.0, "top_logprobs": [{"token": t, "logprob": p} for t, p in likely.items()]}
        for token, likely in answer
    ]
    message = {"role": "assistant", "content": text}
    return {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": content}}
