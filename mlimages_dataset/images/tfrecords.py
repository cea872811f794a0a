"""TFRecord files as the Tencent ML-Images repository writes them, read without TensorFlow.

A file is a sequence of records: a length, a masked CRC-32C of the length, the data and a masked CRC-32C of the data
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details). The data is a `tf.train.Example`
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/feature.proto) in Protocol Buffers' wire
format (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import google_crc32c
import numpy as np

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import unpacked
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.members import Member
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location

Feature: TypeAlias = "list[bytes] | list[float] | list[int]"

_MASK_DELTA = 0xA282EAD8
_MOST_RECORD_BYTES = 1 << 31
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        data: its content.
        sound: whether the content has the stated checksum.
    """

    data: bytes
    sound: bool


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of some bytes, rotated right by 15 bits and shifted by a constant, as TFRecords state it."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def records(stream: _Stream) -> Iterator[Record]:
    """Yield the records of a TFRecord stream.

    Raises:
        ValueError: it is truncated, or the checksum of a length is wrong, so that the next record cannot be found.
    """
    number = 0
    while header := stream.read(12):
        if len(header) < 12:  # noqa: PLR2004 - the header's own size
            raise ValueError(f"ends within the header of record {number}")
        length, length_crc = struct.unpack("<QI", header)
        if masked_crc(header[:8]) != length_crc or length > _MOST_RECORD_BYTES:
            raise ValueError(f"the length of record {number} has a wrong checksum")
        data, footer = stream.read(length), stream.read(4)
        if len(data) < length or len(footer) < 4:  # noqa: PLR2004 - as above
            raise ValueError(f"ends within record {number}")
        yield Record(data, masked_crc(data) == struct.unpack("<I", footer)[0])
        number += 1


def features_of(example: bytes) -> dict[str, Feature]:
    """Return the features of a serialized `tf.train.Example` by name.

    Raises:
        ValueError: it is not one.
    """
    found: dict[str, Feature] = {}
    for features in _submessages(example, 1):
        for entry in _submessages(features, 1):
            names = list(_submessages(entry, 1))
            for feature in _submessages(entry, 2):
                found[bytes(names[-1]).decode() if names else ""] = _values(feature)
    return found


def _values(feature: memoryview | bytes) -> Feature:
    """Return the values of a `tf.train.Feature`, those of its last list: it is a oneof."""
    values: Feature = []
    for kind, wire, payload in _fields(feature):
        if wire != _LENGTH_DELIMITED:
            raise ValueError("a feature holds no list")
        assert isinstance(payload, memoryview)
        if kind == _BYTES_LIST:
            values = [bytes(value) for value in _submessages(payload, 1)]
        elif kind == _FLOAT_LIST:
            values = [number for packed in _packed(payload) for number in _floats(packed)]
        elif kind == _INT64_LIST:
            values = [number for packed in _packed(payload) for number in _integers(packed)]
    return values


def _packed(message: memoryview) -> Iterator[memoryview | int]:
    """Yield the occurrences of field 1 of a list's message, packed or not."""
    for number, _, payload in _fields(message):
        if number == 1:
            yield payload


def _floats(packed: memoryview | int) -> list[float]:
    raw = packed.to_bytes(4, "little") if isinstance(packed, int) else bytes(packed)
    if len(raw) % 4:
        raise ValueError("a list of floats has an incomplete value")
    return [float(value) for value in np.frombuffer(raw, "<f4")]


def _integers(packed: memoryview | int) -> list[int]:
    if isinstance(packed, int):
        return [_signed(packed)]
    found, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        found.append(_signed(value))
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _submessages(message: memoryview | bytes, wanted: int) -> Iterator[memoryview]:
    """Yield the payload of each length-delimited field of one number."""
    for number, wire, payload in _fields(message):
        if number == wanted:
            if wire != _LENGTH_DELIMITED:
                raise ValueError(f"field {number} is of wire type {wire}")
            assert isinstance(payload, memoryview)
            yield payload


def _fields(message: memoryview | bytes) -> Iterator[tuple[int, int, memoryview | int]]:
    """Yield number, wire type and payload of each field of a message."""
    view, at = memoryview(message), 0
    while at < len(view):
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(view, at)
            yield number, wire, value
            continue
        if wire == _LENGTH_DELIMITED:
            length, at = _varint(view, at)
        elif wire in {_FIXED32, _FIXED64}:
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {wire}")
        if at + length > len(view):
            raise ValueError("a field ends after its message")
        payload = view[at : at + length]
        at += length
        yield number, wire, payload if wire == _LENGTH_DELIMITED else int.from_bytes(payload, "little")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return a variable-length integer and the offset after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ValueError("a number ends after its message")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more bytes follow
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number has more than 10 bytes")


def tfrecord_members(path: Location, *, class_ids: tuple[str, ...] = ()) -> Iterator[Member]:
    """Yield the pictures of a TFRecord file, with their labels.

    A record has the features `image` (an encoded picture), `name` (of the image) and `label` (the confidences of all
    classes as the bytes of float32 values, shape (C,), zero if nothing is stated), as
    https://github.com/Tencent/tencent-ml-images/blob/master/data/tfrecord.py writes them.

    Args:
        path: the file, plain or compressed.
        class_ids: the id of each class; if empty, the index of a class is its id.

    Raises:
        DataError: the file is truncated or not a TFRecord file, or a vector has another length than `class_ids`.
    """
    try:
        with unpacked(path) as stream:
            for number, record in enumerate(records(stream)):
                yield _member(record, f"{path.name}/{number}", class_ids)
    except (ValueError, OSError) as error:
        raise DataError(f"is not a complete TFRecord file ({error})", where=path, remedy="obtain it again") from error


def _member(record: Record, place: str, class_ids: tuple[str, ...]) -> Member:
    """Return a record's picture; `place` is its path if the record has no name."""
    if not record.sound:
        return _refused(place, Status.BROKEN, "the record has a wrong checksum")
    try:
        features = features_of(record.data)
    except ValueError as error:
        return _refused(place, Status.BROKEN, f"not a tf.train.Example: {error}")
    image, name, label = (_bytes_of(features.get(feature, [])) for feature in ("image", "name", "label"))
    path = name.decode(errors="replace") if name else place
    if image is None:
        return _refused(path, Status.NOT_AN_IMAGE, "the record has no feature 'image' of bytes")
    labels: tuple[tuple[str, float], ...] = ()
    if label:
        try:
            labels = _stated(label, class_ids)
        except ValueError as error:
            raise ValueError(f"record {path}: {error}") from error
    return Member(path, functools.partial(bytes, image), labels)


def _refused(path: str, status: Status, detail: str) -> Member:
    return Member(path, functools.partial(Inspection, status, detail), ())


def _bytes_of(values: Feature) -> bytes | None:
    return values[0] if values and isinstance(values[0], bytes) else None


def _stated(label: bytes, class_ids: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Return ids and confidences of the classes with a confidence above zero in a vector of float32 bytes."""
    if len(label) % 4:
        raise ValueError(f"{len(label):,} bytes of label are not float32 values")
    vector = np.frombuffer(label, "<f4")
    if class_ids and len(vector) != len(class_ids):
        raise ValueError(f"{len(vector):,} labels, but {len(class_ids):,} classes are given")
    stated = np.flatnonzero(vector > 0)
    return tuple((class_ids[k] if class_ids else str(k), float(vector[k])) for k in stated)
