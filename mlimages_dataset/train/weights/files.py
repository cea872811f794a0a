"""Files of tensors: safetensors, and PyTorch's pickles without executing anything; each with its description.

Only tensors, numbers, texts, containers of these, and `argparse.Namespace` are unpickled; training scripts keep their
options in the latter.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

import torch

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import reason
from mlimages_dataset.tables.files import whole_file, write_bytes
from mlimages_dataset.train.saved import read_saved
from mlimages_dataset.train.weights.description import METADATA_KEY, Description

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

SAFETENSORS = ".safetensors"
_LENGTH_BYTES = 8
_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module", "net", "weights")
"""Keys under which training scripts store the state dict, in order of preference; like timm, the average first."""
_SHOWN_PLACES = 5
_REMEDY = "ask its makers for a state dict (model.state_dict()) or a safetensors file"


@dataclass(frozen=True, slots=True)
class TensorFile:
    """The content of a file of tensors.

    Attributes:
        tensors: the tensors by name.
        description: the description in the file or beside it; None if there is none.
        notes: a sentence for each choice made in reading.
    """

    tensors: dict[str, Tensor]
    description: Description | None
    notes: tuple[str, ...] = ()


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins like safetensors: eight bytes of length and a JSON object."""
    head = _head(path, _LENGTH_BYTES + 1)
    return path.suffix == SAFETENSORS or (len(head) > _LENGTH_BYTES and head[_LENGTH_BYTES:] == b"{")


def read_safetensors(path: Path) -> TensorFile:
    """Return the tensors of a safetensors file and the description in its header.

    Raises:
        UsageError: safetensors is not installed.
        DataError: the file is damaged, or of an unknown version.
    """
    try:
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise UsageError(
            "it is a safetensors file, but safetensors is not installed",
            where=path,
            remedy="run: pip install 'mlimages-dataset[weights]'",
        ) from error
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(
            f"is not a complete safetensors file ({reason(error)})", where=path, remedy="fetch or write it again"
        ) from error
    text = metadata.get(METADATA_KEY)
    return TensorFile(tensors, None if text is None else Description.from_json(text, path))


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], description: Description) -> None:
    """Write tensors as a safetensors file whose header describes them.

    Raises:
        UsageError: safetensors is not installed, or the folder cannot be written.
    """
    try:
        from safetensors.torch import save  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise UsageError(
            "safetensors is not installed", where=path, remedy="run: pip install 'mlimages-dataset[weights]'"
        ) from error
    # The format refuses tensors that share memory; Hugging Face's libraries require the key "format".
    own = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    write_bytes(path, save(own, metadata={"format": "pt", METADATA_KEY: description.to_json()}))


def write_state_dict(path: Path, tensors: Mapping[str, Tensor], description: Description) -> None:
    """Write tensors as PyTorch's pickled state dict, and the file beside it that describes them.

    Raises:
        UsageError: the folder cannot be written.
    """
    own = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    with whole_file(path) as sink:
        torch.save(own, cast("IO[bytes]", sink))
    write_bytes(description_path(path), (description.to_json(indent=2) + "\n").encode())


def description_path(path: Path) -> Path:
    """Return the path of the description beside a file of weights: its name and `.json`."""
    return path.with_name(f"{path.name}.json")


def read_pickled(path: Path) -> object:
    """Return what PyTorch saved, in the CPU's memory, without executing anything.

    Raises:
        DataError: the file is damaged, or holds objects other than tensors and plain values.
    """
    return read_saved(path, kind="file of weights", remedy=_REMEDY, allowed=[argparse.Namespace])


def state_dict_in(content: object, path: Path) -> TensorFile:
    """Return the state dict in the content of a PyTorch file: all of it, or the part under a usual key.

    Raises:
        DataError: there is none.
    """
    beside = description_path(path)
    text = beside.read_text(encoding="utf-8", errors="replace") if beside.is_file() else None
    description = None if text is None else Description.from_json(text, beside)
    tensors = _only_tensors(content)
    if tensors:
        return TensorFile(tensors, description)
    places = content if isinstance(content, dict) else {}
    for place in _CONTAINERS:
        tensors = _only_tensors(places.get(place))
        if tensors:
            return TensorFile(tensors, description, (f"the weights are those under {place!r} in the file",))
    held = first_of(map(str, places), _SHOWN_PLACES) or type(content).__name__
    raise DataError(f"it holds no state dict (but {held})", where=path, remedy=_REMEDY)


def _only_tensors(value: object) -> dict[str, Tensor]:
    """Return the tensors of a mapping that holds only tensors; empty for other values."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        return {}
    return dict(value) if all(isinstance(one, torch.Tensor) for one in value.values()) else {}


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise UsageError(f"cannot be read ({reason(error)})", where=path, remedy="check the path") from error
