"""Folders of models that could run code: refused by name, and nothing in them is run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from judges.cross_encoder.judge import CrossEncoderJudge
from judges.cross_encoder.training import load_classifier
from qr_env.common.errors import ConfigError, JudgeError
from qr_env.models import hub
from qr_env.models.hub import load_causal_lm, resolve
from qr_env.models.no_code import refuse_code
from qr_env.retrieval.encoder import Encoder
from qr_env.retrieval.sparse_encoder import SparseEncoder
from tests.helpers.planted import Exploit

CONFIG = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "vocab_size": 10,
    "id2label": {"0": "score"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("QR_ALLOW_PICKLES", raising=False)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def plant(file: Path) -> Path:
    """A pickle at this place; the folder that it would make."""
    mark = file.with_name("code-was-run")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(pickle.dumps(Exploit(mark), protocol=2))
    return mark


@pytest.mark.parametrize(
    "load",
    [
        resolve,
        refuse_code,
        load_causal_lm,
        load_classifier,
        lambda folder: Encoder(Path(folder)).encode(["sofa"]),
        lambda folder: SparseEncoder(Path(folder)).encode(["sofa"]),
        lambda folder: CrossEncoderJudge(folder, backend="torch").grade_pairs([("sofa", "red sofa")]),
    ],
)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "adapter_model.bin"])
def test_weights_in_pickles_alone_are_refused(folder: Path, load: Any, name: str) -> None:
    mark = plant(folder / name)
    with pytest.raises(ConfigError, match=rf"{name} is a pickle, which can run code .*QR_ALLOW_PICKLES=1"):
        load(str(folder))
    assert not mark.exists()


def add_tokenizer(folder: Path) -> None:
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "sofa", "a", "b", "c"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def test_beside_safetensors_a_pickle_is_not_read(folder: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {name: value for name, value in CONFIG.items() if isinstance(value, int)}
    model = BertForSequenceClassification(BertConfig(**sizes, num_labels=1))
    model.save_pretrained(folder)
    add_tokenizer(folder)
    mark = plant(folder / "pytorch_model.bin")
    loaded, _ = load_classifier(folder)
    assert torch.equal(loaded.classifier.weight, model.classifier.weight) and not mark.exists()


def test_allowed_pickles_are_read_as_data_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QR_ALLOW_PICKLES", "1")
    add_tokenizer(folder)
    mark = plant(folder / "pytorch_model.bin")
    assert refuse_code(folder) == folder
    with pytest.raises(JudgeError, match=r"does not load .*: Weights only load failed"):  # PyTorch's own refusal
        load_classifier(folder)
    assert not mark.exists()


def test_code_of_the_models_own_is_never_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "code-was-run"
    add_tokenizer(folder)
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    own = {
        "AutoConfig": "own.Config",
        "AutoModelForSequenceClassification": "own.Model",
        "AutoTokenizer": ["own.T", None],
    }
    (folder / "config.json").write_text(json.dumps(CONFIG | {"model_type": "own", "auto_map": own}))
    with pytest.raises(JudgeError, match=r"does not load as a one-logit classifier.*(custom code|trust_remote_code)"):
        load_classifier(folder)
    with pytest.raises(ConfigError, match=r"does not load as a causal language model.*(custom code|trust_remote_code)"):
        load_causal_lm(str(folder))
    assert not mark.exists()


def test_modules_of_an_embedders_own_are_refused(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "code-was-run"
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "own.Module"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigError, match=r"modules.json asks to run Python code of its own \(module 'own.Module'\)"):
        Encoder(folder).encode(["sofa"])
    assert not mark.exists()


def test_a_pickle_in_a_module_of_an_embedder_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    modules = [{"idx": 1, "name": "1", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    mark = plant(folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"2_Dense/pytorch_model.bin is a pickle"):
        resolve(str(folder))
    assert not mark.exists()


def test_the_base_of_an_adapter_counts(folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))
    plant(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"model/pytorch_model.bin is a pickle"):
        refuse_code(adapter)


def test_the_hub_is_not_asked_for_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    info = SimpleNamespace(
        sha="abc", siblings=[SimpleNamespace(rfilename=n) for n in ("config.json", "pytorch_model.bin")]
    )
    asked: dict[str, Any] = {}
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "_from_hub_cache", lambda name: None)
    monkeypatch.setattr(hub, "_hub_is_off", lambda: False)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=lambda name, timeout: info))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **options: asked.update(options))
    monkeypatch.delenv("QR_ALLOW_PICKLES", raising=False)
    with pytest.raises(ConfigError, match=r"someone/old has its weights in pickles alone.*QR_ALLOW_PICKLES=1"):
        resolve("someone/old")
    assert not asked


@pytest.mark.parametrize(
    ("start", "what"),
    [(pickle.dumps({}), "a pickle"), (b"PK\x03\x04" + b"0" * 9, "holds a pickle"), (b"version https://git-lfs", "LFS")],
)
def test_another_file_under_the_name_of_safetensors_is_named(folder: Path, start: bytes, what: str) -> None:
    (folder / "model.safetensors").write_bytes(start)
    with pytest.raises(ConfigError, match=rf"model\.safetensors is no safetensors file but .*{what}"):
        load_causal_lm(str(folder))
    (folder / "model.safetensors").write_bytes(b"\x80" + b"\0" * 7 + b"{" + b" " * 127)
    assert refuse_code(folder) == folder
