"""Headers that a server of an LLM wants: key, organisation, and others, from the environment.

    headers_for(Address.parse("https://api.openai.com"), None)       # {"Authorization": "Bearer …"}

QR_JUDGE_KEY                        Authorization: Bearer, and Azure's api-key, to every server that is named
OPENAI_API_KEY, if that is not set  the same, to OpenAI, Azure, this machine and the own network alone
OPENAI_ORG_ID, OPENAI_PROJECT_ID    OpenAI-Organization, OpenAI-Project, to the same servers
QR_JUDGE_HEADERS                    lines `Name: value` or a JSON object, to every server that is named
"""

from __future__ import annotations

import json
import os
import re

from qr_env.common.errors import ConfigError
from qr_env.llm.address import Address

ACCOUNT = {"OpenAI-Organization": ("OPENAI_ORG_ID", "OPENAI_ORGANIZATION"), "OpenAI-Project": ("OPENAI_PROJECT_ID",)}


def headers_for(address: Address, api_key: str | None) -> dict[str, str]:
    """Headers of every request to a server. api_key: None reads it from the environment. Raises ConfigError for a value
    that no header can hold."""
    trusted = address.openai or address.azure or address.own_network
    names = ("QR_JUDGE_KEY", "OPENAI_API_KEY") if trusted else ("QR_JUDGE_KEY",)
    name, key = ("api_key", api_key) if api_key else _variable(*names)
    headers = {"Authorization": f"Bearer {_checked(name, key)}"} if key else {}
    if key and address.azure:
        headers["api-key"] = _checked(name, key)
    for header, variables in ACCOUNT.items() if trusted else ():
        variable, value = _variable(*variables)
        if value:
            headers[header] = _checked(variable, value)
    given = _given(os.environ.get("QR_JUDGE_HEADERS", ""))
    replaced = {name.lower() for name in given}
    return {name: value for name, value in headers.items() if name.lower() not in replaced} | given


def _variable(*names: str) -> tuple[str, str]:
    """Name and value of the first variable that is set."""
    return next(((name, value) for name in names if (value := os.environ.get(name, "").strip())), ("", ""))


def _checked(name: str, value: str) -> str:
    """A header's value without blanks around it. Raises ConfigError, without the value, where no header can hold it."""
    value = value.strip().removeprefix("Bearer ").strip()
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"{name} holds a character that no HTTP header can: copy the value again, without quotes")
    return value


def _given(text: str) -> dict[str, str]:
    """Headers of QR_JUDGE_HEADERS."""
    if not text.strip():
        return {}
    form = 'QR_JUDGE_HEADERS: give lines "Name: value", or a JSON object {"Name": "value"}'
    if text.lstrip().startswith("{"):
        try:
            pairs = [(str(name), str(value)) for name, value in json.loads(text).items()]
        except ValueError as error:
            raise ConfigError(f"{form} ({error})") from error
    else:
        lines = [line.partition(":") for line in text.splitlines() if line.strip()]
        pairs = [(name, value) for name, _, value in lines]
    for name, value in pairs:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()) or not value.strip():
            raise ConfigError(f"{form}; the header {name.strip()!r:.60} is none")
    return {name.strip(): _checked_header(name, value) for name, value in pairs}


def _checked_header(name: str, value: str) -> str:
    if not value.isascii() or not value.strip().isprintable():
        raise ConfigError(f"QR_JUDGE_HEADERS: {name.strip()} holds a character that no HTTP header can")
    return value.strip()
