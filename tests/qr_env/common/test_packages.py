"""A missing optional package is named together with the extra of qr-env that installs it."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.policy.student import pretrained_student
from agents.tracking.base import checked_trackers
from judges.cross_encoder.judge import CrossEncoderJudge
from judges.factory import JudgeOptions, open_judge
from qr_env.common.errors import ConfigError
from qr_env.common.packages import PACKAGES, missing_package, require
from qr_env.models.hub import resolve
from qr_env.retrieval.factory import make_retriever
from qr_env.shop.shop import Shop
from tests.helpers.fakes import tiny_shop

SHOP = tiny_shop()
PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
BUNDLED = {"huggingface-hub": "transformers", "safetensors": "transformers", "scikit-learn": "sentence-transformers"}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=~\[ ]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize("module", PACKAGES)
def test_the_extra_that_is_named_installs_the_package(module: str) -> None:
    package, extra = PACKAGES[module]
    declared = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    assert BUNDLED.get(package, package) in names(declared)


def test_the_quickstart_installs_what_the_llm_judge_needs() -> None:
    assert "httpx" in names(PROJECT["dependencies"])


def open_llm(shop: Shop) -> object:
    return open_judge("llm", shop, JudgeOptions(urls=("http://127.0.0.1:8000/v1",)))


CASES: list[tuple[str, Callable[[Shop], object], str]] = [
    ("httpx", open_llm, "pip install httpx"),
    ("faiss", lambda shop: make_retriever("dense", shop), r"pip install 'qr-env\[dense\]'"),
    ("sentence_transformers", lambda shop: open_judge("embedding", shop), r"pip install 'qr-env\[dense\]'"),
    ("torch", lambda shop: make_retriever("splade", shop), r"pip install 'qr-env\[train\]'"),
    ("huggingface_hub", lambda shop: resolve("some/model"), r"some/model needs .*'qr-env\[train\]'"),
    ("transformers", lambda shop: CrossEncoderJudge("out"), r"pip install 'qr-env\[train\]'"),
    ("peft", lambda shop: pretrained_student("smollm2-135m", 10, lora_rank=4), r"LoRA .*'qr-env\[train\]'"),
    ("trackio", lambda shop: checked_trackers("trackio"), r"tracker='trackio' needs .*'qr-env\[trackio\]'"),
    ("wandb", lambda shop: checked_trackers(("none", "wandb")), r"pip install 'qr-env\[wandb\]'"),
]


@pytest.mark.parametrize(("module", "use", "message"), CASES, ids=[case[0] for case in CASES])
def test_a_missing_package_is_a_config_error(
    module: str, use: Callable[[Shop], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=message):
        use(SHOP)


def test_an_import_that_fails_elsewhere_is_explained_where_the_package_is_known() -> None:
    found = missing_package(ModuleNotFoundError("No module named 'trl.trainer'", name="trl.trainer"))
    assert str(found) == "this needs the package trl, which is not installed: pip install 'qr-env[train]'"
    assert missing_package(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
    require("httpx", what="nothing")
