"""Writes a network as an ONNX graph with any batch size, and runs it in ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING

import torch

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.weights.description import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor, nn

    from mlimages_dataset.train.weights.description import Description

INPUT, OUTPUT = "images", "logits"
OPSET = 18
"""The exporter's own version of operators; ONNX Runtime supports it since 1.14 (2023)."""
_MOST_BYTES = 2 << 30


def exported(model: nn.Module, description: Description, images: Tensor, *, opset: int | None, where: Path) -> bytes:
    """Return a network as an ONNX file: `images` (batch, 3, S, S) in [-1, 1] to `logits` (batch, C).

    Args:
        model: the network, for evaluation.
        description: description for the file's metadata.
        images: images for tracing, more than one.
        opset: the version of ONNX's operators; None for `OPSET`.
        where: the file, for messages.

    Raises:
        UsageError: a package is missing, the opset lacks an operator of the network, or the network is too large.
    """
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if size > _MOST_BYTES:
        raise UsageError(
            f"its weights have {size / 2**30:.1f} GiB, but an ONNX file holds at most 2",
            where=where,
            remedy="use --to safetensors",
        )
    try:
        import onnx  # noqa: PLC0415 - optional
        import onnxruntime  # noqa: PLC0415, F401 - optional, and wanted to run what is written
        import onnxscript  # noqa: PLC0415, F401 - optional, and wanted by torch
    except ModuleNotFoundError as error:
        raise UsageError(
            f"ONNX needs the package {error.name}", where=where, remedy="run: pip install 'mlimages-dataset[weights]'"
        ) from error
    wanted = opset or OPSET
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (images,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=wanted,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        assert program is not None
        proto = program.model_proto
        found = {one.version for one in proto.opset_import if one.domain in {"", "ai.onnx"}}
        if found != {wanted}:
            raise ValueError(f"it needs opset {max(found)}")  # noqa: TRY301 - one message for all faults
        onnx.checker.check_model(proto)
    except Exception as error:  # the exporter's and the translator's errors are of many kinds
        raise UsageError(
            f"the network cannot be written with ONNX opset {wanted} ({_reason(error)})",
            where=where,
            remedy=f"leave --opset out for {OPSET}" if wanted != OPSET else "use --to safetensors",
        ) from error
    onnx.helper.set_model_props(
        proto, {METADATA_KEY: description.to_json(), "input": "RGB pixels in [-1, 1]", "output": "logits"}
    )
    return bytes(proto.SerializeToString())


def run_onnx(content: bytes, images: Tensor) -> Tensor:
    """Return the logits that ONNX Runtime computes on the CPU from images, shape (B, C)."""
    import onnxruntime  # noqa: PLC0415 - optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run([OUTPUT], {INPUT: images.numpy()})
    return torch.from_numpy(logits)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's prints, logs and warnings out of the command's output."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
