"""Exports a trained cross-encoder to a folder: Hugging Face files, `model.onnx` in int8, `calibration.json`.

    export(model, tokenizer, Path("out/student"), Calibration(thresholds, "labels of dev", provenance={…}))

Quantisation is dynamic: weights are stored in int8 with one scale a column, activations are scaled at run time. The
scores of the ONNX file are compared with the model's; where int8 changes the order of pairs, float32 is kept.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from judges.cross_encoder.judge import ONNX, Calibration, OnnxScorer
from judges.cross_encoder.pair_tokens import Ids, PairTokens
from judges.cross_encoder.training import forward
from qr_env.common.atomic_io import atomic_cache_folder
from qr_env.common.types import FloatArray
from qr_env.models.progress import no_weight_bars

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MIN_CORRELATION = 0.99  # of int8 scores with the model's
SAMPLE = (64, 24)  # pairs and tokens of the random comparison sample
OPSET = 17

Inputs = tuple[Ids, Ids, Ids]  # ids, types, mask
log = logging.getLogger("judges.cross_encoder.export")


def export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    calibration: Calibration,
    pairs: Sequence[tuple[str, str]] = (),
    int8: bool = True,
) -> Path:
    """Write the folder atomically.

    Without the packages `onnx` and `onnxruntime`, or for a model that cannot be traced, the folder has no `model.onnx`
    and is served by PyTorch; the provenance records which it is.

    pairs: (query, product) texts on which int8 is compared with float32; () uses random tokens, a harder test.
    """
    inputs = (
        _pair_inputs(PairTokens(tokenizer, calibration.max_length), pairs) if pairs else _random_inputs(model, *SAMPLE)
    )
    with atomic_cache_folder(folder) as scratch, no_weight_bars():
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        state = _write_onnx(model, scratch / ONNX, inputs, int8)
        replace(calibration, provenance=calibration.provenance | {"onnx": state}).write(scratch)
    return folder


def _pair_inputs(tokens: PairTokens, pairs: Sequence[tuple[str, str]]) -> Inputs:
    ids_MT, types_MT, lengths_M = tokens.layout(*zip(*pairs, strict=True))
    return ids_MT, types_MT, (np.arange(ids_MT.shape[1]) < lengths_M[:, None]).astype(np.int64)


def _write_onnx(model: PreTrainedModel, path: Path, inputs: Inputs, int8: bool) -> str:
    """Write the ONNX file. Returns a description of the result for the provenance."""
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        return "none: onnx and onnxruntime are not installed"
    float32_file = path.with_name("float32.onnx")
    try:
        to_onnx(model, float32_file)
        exact = _correlation(model, float32_file, inputs)
        if exact < 1 - 1e-4:
            raise ValueError(f"its scores have correlation {exact:.4f} with the model's")
    except Exception as error:  # tracing fails in many ways, depending on the architecture
        float32_file.unlink(missing_ok=True)
        log.warning(
            "no ONNX file (%s); PyTorch will run this judge", str(error).splitlines()[0] if str(error) else error
        )
        return f"none: {type(error).__name__}"
    if int8:
        quantize(float32_file, path)
        if (agreement := _correlation(model, path, inputs)) >= MIN_CORRELATION:
            float32_file.unlink()
            return f"int8, correlation {agreement:.4f} with float32"
        log.warning("int8 scores have correlation %.3f with the model's: kept in float32", agreement)
    float32_file.replace(path)
    return "float32"


def to_onnx(model: PreTrainedModel, path: Path) -> None:
    """Export the model in float32 for any number of pairs and tokens.

    By tracing, ten times as fast as torch's newer exporter; eager attention gives the graph that quantises and runs
    best.
    """
    import torch

    names = ["input_ids", "token_type_ids", "attention_mask"]
    if getattr(model.config, "type_vocab_size", 0) < 2:
        names.remove("token_type_ids")

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(**dict(zip(names, inputs, strict=True))).logits
            return logits

    ids, types, mask = _random_inputs(model, 2, 16)
    inputs = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
    attention = model.config._attn_implementation
    model.set_attn_implementation("eager")
    axes = {name: {0: "pairs", 1: "tokens"} for name in names} | {"logits": {0: "pairs"}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's, about constants; the scores are compared afterwards
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


def quantize(float32_file: Path, path: Path) -> None:
    """Quantise weights to int8, of which 7 bits are used: processors without VNNI saturate in sums of two products."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # suppresses advice about a step that has no effect here
    try:
        quantize_dynamic(float32_file, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
    finally:
        root.setLevel(level)


def _random_inputs(model: PreTrainedModel, pairs: int, tokens: int) -> Inputs:
    """Random token ids of several lengths."""
    rng = np.random.default_rng(0)
    ids_MT = rng.integers(model.config.vocab_size, size=(pairs, tokens))
    lengths_M = rng.integers(tokens // 2, tokens + 1, size=pairs)
    mask_MT = (np.arange(tokens) < lengths_M[:, None]).astype(np.int64)
    types_MT = (np.arange(tokens) >= tokens // 3).astype(np.int64) * mask_MT
    return ids_MT, types_MT, mask_MT


def _correlation(model: PreTrainedModel, path: Path, inputs: Inputs) -> float:
    """Correlation of the file's scores with the model's."""
    import torch

    with torch.inference_mode():
        wanted: FloatArray = forward(model, *inputs).cpu().numpy()
    found = OnnxScorer(path)(*inputs)
    return float(np.corrcoef(wanted, found)[0, 1])
