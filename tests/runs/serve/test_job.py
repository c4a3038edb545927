"""What is refused before anything is loaded."""

import pytest

from qr_env.common.errors import ConfigError, QrError
from runs.serve.args import Args
from runs.serve.job import check_inputs, read_token

TOKEN = "0123456789abcdef0123"


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv("QR_SERVE_TOKEN", raising=False)


def settings(**values):
    return check_inputs(Args(agent="repair", **values))


def test_defaults():
    assert settings().token == "" and settings(port=0, host="localhost").deadline_ms == 50


@pytest.mark.parametrize(
    "values",
    [
        {"host": "0.0.0.0"}, {"host": "::"}, {"table": "missing.db"}, {"candidate": "spell"}, {"deadline_ms": 0.0},
        {"explore": 1.5}, {"candidates": 1}, {"queue": 0}, {"max_body": 1}, {"retention_days": -1.0}, {"remember": -1},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(values):
    with pytest.raises(QrError):
        settings(**values)


def test_broken_rules_are_refused(tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("nothing: [a]\n")
    with pytest.raises(ConfigError, match="nothing"):
        settings(rules=rules)


def test_a_token_opens_other_addresses(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert settings(host="0.0.0.0", token_file=file).token == TOKEN
    monkeypatch.setenv("QR_SERVE_TOKEN", TOKEN)
    assert read_token(None) == TOKEN


@pytest.mark.parametrize("token", ["short", "with ünicode characters", "x" * 10])
def test_weak_tokens_are_refused(tmp_path, token):
    file = tmp_path / "token"
    file.write_text(token)
    with pytest.raises(ConfigError, match="16"):
        read_token(file)
