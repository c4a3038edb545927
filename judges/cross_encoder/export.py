"""A trained cross-encoder to a folder that serves: Hugging Face files, `model.onnx` in int8, `calibration.json`.

    export(model, tokenizer, Path("out/student"), Calibration(thresholds, "labels of dev", provenance={…}))

int8 is dynamic: weights are stored in eight bits, one scale a column, and activations are scaled as they come. What the
ONNX file computes is compared with the model on the spot; where int8 orders pairs differently, 32 bits are kept.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from judges.cross_encoder.judge import ONNX, Calibration, OnnxScorer
from judges.cross_encoder.pair_tokens import Ids, PairTokens
from judges.cross_encoder.training import forward, quiet
from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.types import FloatArray

AGREEMENT = 0.99  # least correlation of int8 scores with the model's
SAMPLE = (64, 24)  # pairs and tokens of the comparison
OPSET = 17

Inputs = tuple[Ids, Ids, Ids]  # ids, types, mask
log = logging.getLogger("judges.cross_encoder.export")


def export(
    model: Any,
    tokenizer: Any,
    folder: Path,
    calibration: Calibration,
    pairs: Sequence[tuple[str, str]] = (),
    int8: bool = True,
) -> Path:
    """Write the folder, whole or not at all. Without the packages `onnx` and `onnxruntime`, or with a model that does
    not translate, the folder has no `model.onnx` and is served by PyTorch; the provenance says which it was.

    pairs: (query, product) texts on which int8 is compared with 32 bits; without any, random tokens, which is harder.
    """
    inputs = _laid_out(PairTokens(tokenizer, calibration.max_length), pairs) if pairs else _sample(model, *SAMPLE)
    with atomic_cache_folder(folder) as scratch, quiet():
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        state = _write_onnx(model, scratch / ONNX, inputs, int8)
        replace(calibration, provenance=calibration.provenance | {"onnx": state}).write(scratch)
    return folder


def _laid_out(tokens: PairTokens, pairs: Sequence[tuple[str, str]]) -> Inputs:
    ids_ML, types_ML, lengths_M = tokens.layout(*zip(*pairs, strict=True))
    return ids_ML, types_ML, (np.arange(ids_ML.shape[1]) < lengths_M[:, None]).astype(np.int64)


def _write_onnx(model: Any, path: Path, inputs: Inputs, int8: bool) -> str:
    """What became of it, in words."""
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        return "none: onnx and onnxruntime are not installed"
    wide = path.with_name("wide.onnx")
    try:
        to_onnx(model, wide)
        exact = _correlation(model, wide, inputs)
        if exact < 1 - 1e-4:
            raise ValueError(f"its scores correlate {exact:.4f} with the model's")
    except Exception as error:  # tracing fails in as many ways as there are architectures
        wide.unlink(missing_ok=True)
        log.warning("no ONNX file (%s); PyTorch serves this judge", str(error).splitlines()[0] if str(error) else error)
        return f"none: {type(error).__name__}"
    if int8:
        quantize(wide, path)
        if (agreement := _correlation(model, path, inputs)) >= AGREEMENT:
            wide.unlink()
            return f"int8, correlation {agreement:.4f} with 32 bits"
        log.warning("int8 scores correlate %.3f with the model's: kept in 32 bits", agreement)
    wide.replace(path)
    return "float32"


def to_onnx(model: Any, path: Path) -> None:
    """The model in 32 bits; any number of pairs and tokens. Traced: ten times as fast as torch's newer exporter, and
    the graph that quantises and runs best, with attention written out."""
    import torch

    names = ["input_ids", "token_type_ids", "attention_mask"]
    if getattr(model.config, "type_vocab_size", 0) < 2:
        names.remove("token_type_ids")

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True))).logits

    ids, types, mask = _sample(model, 2, 16)
    inputs = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")
    axes = {name: {0: "pairs", 1: "tokens"} for name in names} | {"logits": {0: "pairs"}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, about constants; the scores are compared afterwards
            torch.onnx.export(
                Logits().eval(),
                tuple(torch.from_numpy(inputs[name]) for name in names),
                str(path),
                input_names=names,
                output_names=["logits"],
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    finally:
        model.set_attn_implementation(attention)


def quantize(wide: Path, path: Path) -> None:
    """Weights of `wide` in eight bits. Seven of them are used, because processors without VNNI saturate in their sums
    of pairs of products."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a step that changes nothing here
    try:
        quantize_dynamic(wide, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    finally:
        root.setLevel(level)


def _sample(model: Any, pairs: int, tokens: int) -> Inputs:
    """Random inputs of several lengths."""
    rng = np.random.default_rng(0)
    ids_ML = rng.integers(model.config.vocab_size, size=(pairs, tokens))
    lengths_M = rng.integers(tokens // 2, tokens + 1, size=pairs)
    mask_ML = (np.arange(tokens) < lengths_M[:, None]).astype(np.int64)
    types_ML = (np.arange(tokens) >= tokens // 3).astype(np.int64) * mask_ML
    return ids_ML, types_ML, mask_ML


def _correlation(model: Any, path: Path, inputs: Inputs) -> float:
    """Of the file's scores with the model's."""
    import torch

    with torch.inference_mode():
        wanted: FloatArray = forward(model, *inputs).cpu().numpy()
    found = OnnxScorer(path)(*inputs)
    return float(np.corrcoef(wanted, found)[0, 1])
