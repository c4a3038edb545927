"""Base URLs as people paste them, and what is shown of them."""

from __future__ import annotations

import pytest

from qr_env.common.errors import ConfigError
from qr_env.llm.address import Address, shown


@pytest.mark.parametrize(
    ("pasted", "bases"),
    [
        ("http://127.0.0.1:8000", ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000")),
        ("http://127.0.0.1:8000/", ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000")),
        ("http://127.0.0.1:8000/v1", ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000")),
        ("http://127.0.0.1:8000//v1//", ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000")),
        ("http://h:1/v1/chat/completions", ("http://h:1/v1", "http://h:1")),
        ("http://h:1/v1/chat/completions/", ("http://h:1/v1", "http://h:1")),
        ("http://h:1/v1/models", ("http://h:1/v1", "http://h:1")),
        ("http://h:1/v1/models/qwen3", ("http://h:1/v1", "http://h:1")),
        ("http://h:1/v1/completions", ("http://h:1/v1", "http://h:1")),
        ("http://h:1/docs", ("http://h:1/v1", "http://h:1")),
        ("http://localhost:11434/api/chat", ("http://localhost:11434/v1", "http://localhost:11434")),
        ("localhost:8000", ("http://localhost:8000/v1", "http://localhost:8000")),
        ("localhost", ("http://localhost/v1", "http://localhost")),
        ("gpu-box:8000/v1", ("http://gpu-box:8000/v1", "http://gpu-box:8000")),
        ("10.0.0.5/v1", ("http://10.0.0.5/v1", "http://10.0.0.5")),
        ("[::1]:8000", ("http://[::1]:8000/v1", "http://[::1]:8000")),
        ("//h:1/v1", ("http://h:1/v1", "http://h:1")),
        ("api.openai.com/v1", ("https://api.openai.com/v1", "https://api.openai.com")),
        (" <https://api.openai.com/v1> ", ("https://api.openai.com/v1", "https://api.openai.com")),
        ("HTTPS://api.deepseek.com", ("https://api.deepseek.com/v1", "https://api.deepseek.com")),
        ("https://a.ai/api", ("https://a.ai/api", "https://a.ai/api/v1", "https://a.ai/v1")),
        ("https://api.groq.com/openai/v1", ("https://api.groq.com/openai/v1", "https://api.groq.com/openai")),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
            (
                "https://generativelanguage.googleapis.com/v1beta/openai",
                "https://generativelanguage.googleapis.com/v1beta/openai/v1",
                "https://generativelanguage.googleapis.com/v1",
            ),
        ),
        (
            "https://me.openai.azure.com",
            ("https://me.openai.azure.com/openai/v1", "https://me.openai.azure.com/openai"),
        ),
    ],
)
def test_a_pasted_url_gives_the_bases_to_try(pasted: str, bases: tuple[str, ...]) -> None:
    assert Address.parse(pasted).bases == bases


def test_a_query_string_goes_with_every_request() -> None:
    pasted = "https://me.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    address = Address.parse(pasted)
    base = "https://me.openai.azure.com/openai/deployments/gpt"
    assert address.bases[0] == base and address.azure
    assert address.url(base, "/chat/completions") == pasted


def test_vllms_own_paths_stand_beside_the_api() -> None:
    address = Address.parse("http://h:1/vllm/v1")
    assert address.url(address.bases[0], "/tokenize") == "http://h:1/vllm/tokenize"
    assert address.url(address.bases[0], "/chat/completions") == "http://h:1/vllm/v1/chat/completions"


@pytest.mark.parametrize(
    "pasted",
    [
        "ftp://h/v1",
        "http://",
        "http://:8000",
        "http://h:port/v1",
        "http://h:99999",
        "http://h:0",
        "ws://h:1",
        "a b:8000",
        "unix:///run/vllm.sock",
        "http:/h:1/v1",
        "http://[::1/v1",
    ],
)
def test_what_is_no_url_of_a_server_is_refused(pasted: str) -> None:
    with pytest.raises(ConfigError, match=r"is no base URL of a server.*such as http://127.0.0.1:8000/v1"):
        Address.parse(pasted)


def test_own_network_and_this_machine_are_known() -> None:
    own = (
        "http://127.0.0.1:1",
        "http://localhost",
        "http://10.1.2.3",
        "http://gpu-box:1",
        "http://a.local",
        "http://[::1]:1",
    )
    assert all(Address.parse(url).own_network for url in own)
    assert not any(Address.parse(url).own_network for url in ("https://api.openai.com", "http://8.8.8.8"))
    assert all(Address.parse(url).loopback for url in ("http://127.0.1.1", "http://localhost:1", "http://0.0.0.0:8000"))
    assert not any(Address.parse(url).loopback for url in ("http://10.1.2.3", "http://localhost.example.com"))


def test_keys_in_a_url_are_not_shown() -> None:
    assert shown("https://me:secret@h/v1/models?api-version=1&key=abc") == "https://…@h/v1/models?api-version=1&key=…"
    with pytest.raises(ConfigError) as caught:
        Address.parse("http://me:secret@h:port/v1")
    assert "secret" not in str(caught.value)
