"""Bodies come out as they were, whatever a server packed them in, and what cannot be unpacked is named."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.content_encodings import encodings_of, without_encodings
from mlimages_dataset.images.fetcher import FetchPolicy, fetcher
from mlimages_dataset.images.statuses import Status
from tests.images import fault_server
from tests.images.exact_server import answer, exact_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlimages_dataset.images.fetcher import Body

MOST = 1 << 20
PICTURE = fault_server.picture(1)
POLICY = FetchPolicy(retries=0, allow_private=True, max_bytes=MOST)


class Pack(Protocol):
    """Packs bytes."""

    def __call__(self, content: bytes, /) -> bytes:
        """Return the packed bytes."""
        ...


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def by_arrow(codec: str) -> Pack:
    def pack(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(content)
        packed: bytes = sink.getvalue().to_pybytes()
        return packed

    return pack


PACKS: Mapping[str, tuple[str, Pack]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "upper case": ("GZIP", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "brotli": ("br", by_arrow("brotli")),
    "zstd": ("zstd", by_arrow("zstd")),
    "several gzip members": ("gzip", lambda content: gzip.compress(content[:9]) + gzip.compress(content[9:])),
    "padded gzip": ("gzip", lambda content: gzip.compress(content) + bytes(100)),
    "several zstd frames": ("zstd", lambda content: by_arrow("zstd")(content[:9]) + by_arrow("zstd")(content[9:])),
    "identity": ("identity", bytes),
    "nothing": ("", bytes),
    "a picture that is not packed": ("gzip", bytes),
    "a mistake for identity": ("none", bytes),
    "a charset": ("utf-8", bytes),
}


def fetched(answered: bytes, policy: FetchPolicy = POLICY) -> Body:
    async def go(port: int) -> Body:
        async with fetcher(policy) as ask:
            return await ask.fetch(f"http://127.0.0.1:{port}/a.jpg")

    with exact_server({b"/a.jpg": answered}) as server:
        return asyncio.run(go(server.port))


def refused(answered: bytes, policy: FetchPolicy = POLICY) -> Refused:
    with pytest.raises(Refused) as found:
        fetched(answered, policy)
    return found.value


@pytest.mark.parametrize("kind", PACKS)
def test_a_picture_comes_out_as_it_was(kind: str) -> None:
    encoding, pack = PACKS[kind]
    body = fetched(answer(pack(PICTURE), Content_Encoding=encoding))
    assert b"".join(body.pieces) == PICTURE
    assert body.size == len(PICTURE)


def test_several_encodings_are_undone_from_the_last_to_the_first() -> None:
    packed = by_arrow("brotli")(raw_deflate(gzip.compress(PICTURE)))
    for headers in ("gzip, deflate, br", "gzip,identity, deflate ,br"):
        assert b"".join(fetched(answer(packed, Content_Encoding=headers)).pieces) == PICTURE
    two = answer(packed, Content_Encoding="gzip").replace(b"\r\n\r\n", b"\r\nContent-Encoding: deflate, br\r\n\r\n", 1)
    assert b"".join(fetched(two).pieces) == PICTURE


@given(
    st.binary(max_size=300).filter(lambda content: inspect(content).suffix == ""),
    st.lists(st.sampled_from(["gzip", "zlib", "raw deflate", "brotli", "zstd", "several gzip members"]), max_size=4),
)
def test_any_bytes_in_any_encodings_come_out_as_they_were(content: bytes, kinds: list[str]) -> None:
    packed = content
    for kind in kinds:
        packed = PACKS[kind][1](packed)
    assert without_encodings(packed, [PACKS[kind][0] for kind in kinds], MOST) == content


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br", "zstd"]), st.integers(0, 200))
def test_any_bytes_at_all_are_content_or_refused(noise: bytes, encoding: str, kept: int) -> None:
    pack = next(pack for name, pack in PACKS.values() if name == encoding)
    for body in (noise, pack(PICTURE)[:kept] + noise):
        with contextlib.suppress(Refused):
            assert len(without_encodings(body, [encoding], MOST)) <= MOST


@pytest.mark.parametrize("kind", ["gzip", "zlib", "raw deflate", "brotli", "zstd", "several gzip members"])
def test_packed_bodies_that_are_cut_or_too_large_are_named(kind: str) -> None:
    encoding, pack = PACKS[kind]
    cut = refused(answer(pack(PICTURE)[:-3], Content_Encoding=encoding))
    assert (cut.status, cut.again) == (Status.CUT, True)
    bomb = pack(bytes(3 * MOST))
    assert refused(answer(bomb, Content_Encoding=encoding)).status is Status.TOO_LARGE
    assert fetched(answer(pack(bytes(MOST)), Content_Encoding=encoding)).size == MOST


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_a_changed_bit_is_found(kind: str) -> None:
    encoding, pack = PACKS[kind]
    for at in range(10, len(pack(PICTURE)), 97):
        damaged = bytearray(pack(PICTURE))
        damaged[at] ^= 16
        with pytest.raises(Refused):
            without_encodings(bytes(damaged), [encoding], MOST)


def test_wrong_checksums_and_lengths_are_broken() -> None:
    packed = gzip.compress(PICTURE)
    for damaged in (packed[:-8] + bytes(4) + packed[-4:], packed[:-4] + bytes(4), packed + b"more"):
        assert refused(answer(damaged, Content_Encoding="gzip")).status is Status.BROKEN
    for wrong in ("br", "zstd", "deflate"):
        assert refused(answer(gzip.compress(bytes(999)), Content_Encoding=wrong)).status in {Status.BROKEN, Status.CUT}


@pytest.mark.parametrize("encoding", ["compress", "lzma", "aws-chunked", "gzip, compress"])
def test_an_unknown_encoding_is_named(encoding: str) -> None:
    found = refused(answer(b"\x1f\x9d" + bytes(99), Content_Encoding=encoding))
    assert found.status is Status.UNSUPPORTED
    assert found.detail == (
        f"the content encoding {encoding.rpartition(' ')[2]!r} is none of gzip, x-gzip, deflate, br, zstd"
    )


def test_an_empty_body_is_empty_in_any_encoding() -> None:
    assert fetched(answer(b"", Content_Encoding="gzip")).size == 0


def test_lengths_that_are_wrong_are_told() -> None:
    short = answer(PICTURE, Content_Length=str(len(PICTURE) + 10), Connection="close")
    assert refused(short).status is Status.CUT
    long = refused(answer(PICTURE, Content_Length=str(len(PICTURE) - 10), Connection="close"))
    assert long.status is Status.HTTP_ERROR
    assert "\n" not in long.detail
    assert long.detail.startswith("not HTTP: Data after")
    for unreadable in ("ten", "-5", "1e3"):
        assert refused(answer(PICTURE, Content_Length=unreadable)).status is Status.HTTP_ERROR
    none = answer(PICTURE, Content_Length="", Connection="close")
    assert b"".join(fetched(none).pieces) == PICTURE
    assert refused(none, replace(POLICY, max_bytes=len(PICTURE) - 1)).status is Status.TOO_LARGE


def test_headers_name_encodings_in_any_case_and_number() -> None:
    assert encodings_of([]) == encodings_of(["", " , identity"]) == []
    assert encodings_of(["Gzip ,br", "ZSTD"]) == ["gzip", "br", "zstd"]


def test_a_body_of_very_many_streams_is_refused_soon() -> None:
    with pytest.raises(Refused, match="more than 100 streams"):
        without_encodings(gzip.compress(b"") * 1_000_000, ["gzip"], 1 << 20)
