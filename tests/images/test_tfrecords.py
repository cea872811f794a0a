"""TFRecords written by others are read, and damage of any kind is told."""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.images.tfrecords import features_of, masked_crc, tfrecord_members

if TYPE_CHECKING:
    from pathlib import Path


def example_class() -> Any:
    """Return Protocol Buffers' own class for `tf.train.Example`, from the published definition."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    for name, kind in (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("Bytes", "Float", "Int64"), 1):
        feature.field.add(
            name=f"{name.lower()}_list",
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f".tf.{name}List",
            label=field.LABEL_OPTIONAL,
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=field.TYPE_MESSAGE, type_name=".tf.Feature", label=field.LABEL_OPTIONAL
    )
    features.field.add(
        name="feature",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".tf.Features.FeatureEntry",
        label=field.LABEL_REPEATED,
    )
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, type=field.TYPE_MESSAGE, type_name=".tf.Features", label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


EXAMPLE = example_class()


def example(**features: list[bytes] | list[float] | list[int]) -> bytes:
    message = EXAMPLE()
    for name, values in features.items():
        feature = message.features.feature[name]
        if values and isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif values and isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    serialized: bytes = message.SerializeToString()
    return serialized


def record(data: bytes) -> bytes:
    def crc(part: bytes) -> bytes:
        value = google_crc32c.value(part)
        return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) % 2**32)

    length = struct.pack("<Q", len(data))
    return length + crc(length) + data + crc(data)


def tencent(name: str, image: bytes, labels: dict[int, float], classes: int = 8) -> bytes:
    """Return a record as the Tencent ML-Images repository writes them."""
    vector = np.zeros(classes, np.float32)
    vector[list(labels)] = list(labels.values())
    return example(width=[4], height=[2], image=[image], label=[vector.tobytes()], name=[name.encode()])


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(
            st.lists(st.binary(max_size=200), min_size=1, max_size=4),
            st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
            st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
        ),
        max_size=5,
    )
)
def test_examples_are_what_protocol_buffers_wrote(features: dict[str, Any]) -> None:
    assert features_of(example(**features)) == features


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 255))
def test_anything_else_is_a_value_error(content: bytes, at: int, byte: int) -> None:
    good = bytearray(example(image=[b"\xff" * 100], name=[b"n"], width=[300], x=[1.5, 2.5]))
    good[at % len(good)] = byte
    for data in (content, bytes(good), bytes(good[:at])):
        try:
            features_of(data)
        except ValueError:  # UnicodeDecodeError is one
            continue


def test_the_checksum_is_the_published_one() -> None:
    # TensorFlow, tensorflow/core/lib/hash/crc32c_test.cc: 32 bytes of zeros; and the mask of crc32c.h.
    assert google_crc32c.value(bytes(32)) == 0x8A9136AA
    assert masked_crc(bytes(32)) == (((0x8A9136AA >> 15) | (0x8A9136AA << 17) & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize(("name", "packed"), [("a.tfrecord", bytes), ("a.tfrecord.gz", gzip.compress)])
def test_tencents_records_are_pictures_with_labels(tmp_path: Path, name: str, packed: type[bytes]) -> None:
    (tmp_path / name).write_bytes(
        packed(
            record(tencent("n01440764_1.JPEG", b"one", {0: 1.0, 5: 0.75}))
            + record(tencent("http://a.b/c.jpg", b"two", {}))
            + record(tencent("x", b"three", {3: 0.5, 4: -1.0}))
        )
    )
    found = [(m.path, m.content(), m.all_labels()) for m in tfrecord_members(tmp_path / name)]
    assert found == [
        ("n01440764_1.JPEG", b"one", (("0", 1.0), ("5", 0.75))),
        ("http://a.b/c.jpg", b"two", ()),
        ("x", b"three", (("3", 0.5),)),
    ]
    classes = tuple(f"n{k:08d}" for k in range(8))
    assert next(tfrecord_members(tmp_path / name, class_ids=classes)).labels == (
        ("n00000000", 1.0),
        ("n00000005", 0.75),
    )


def test_a_damaged_record_is_a_status_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    damaged = bytearray(record(tencent("a.jpg", b"image", {})))
    damaged[20] ^= 1
    path.write_bytes(
        bytes(damaged)
        + record(b"\xff\xff")
        + record(example(name=[b"b.jpg"], image=[1]))
        + record(example(image=[b"fine"]))
        + record(b"")
    )
    members = list(tfrecord_members(path))
    contents = [member.content() for member in members]
    assert [member.path for member in members] == [
        "a.tfrecord/0",
        "a.tfrecord/1",
        "b.jpg",
        "a.tfrecord/3",
        "a.tfrecord/4",
    ]
    assert [one.status if isinstance(one, Inspection) else one for one in contents] == [
        Status.BROKEN,
        Status.BROKEN,
        Status.NOT_AN_IMAGE,
        b"fine",
        Status.NOT_AN_IMAGE,
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda whole: whole[:-1], "ends within record 1"),
        (lambda whole: whole[: len(whole) // 2 + 5], "ends within the header of record 1"),
        (lambda whole: b"\1" + whole[1:], "the length of record 0 has a wrong checksum"),
        (lambda _: b"an ordinary text file", "the length of record 0 has a wrong checksum"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, change: Any, told: str) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(change(record(tencent("a.jpg", b"image", {})) * 2))
    with pytest.raises(DataError, match=told):
        list(tfrecord_members(path))


@pytest.mark.parametrize(
    ("label", "classes", "told"), [(bytes(7), (), "7 bytes of label"), (bytes(8), ("a",), "2 labels, but 1 classes")]
)
def test_labels_of_other_classes_are_an_error(
    tmp_path: Path, label: bytes, classes: tuple[str, ...], told: str
) -> None:
    path = tmp_path / "a.tfrecord"
    path.write_bytes(record(example(image=[b"i"], name=[b"a"], label=[label])))
    with pytest.raises(DataError, match=told):
        list(tfrecord_members(path, class_ids=classes))


def test_a_compressed_file_that_is_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord.gz"
    path.write_bytes(gzip.compress(record(tencent("a.jpg", bytes(range(256)) * 40, {})) * 3)[:-40])
    with pytest.raises(DataError, match="not a complete TFRecord file"):
        list(tfrecord_members(path))
