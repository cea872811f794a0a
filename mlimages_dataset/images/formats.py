"""What bytes are that no accepted format begins with: pictures of other formats, with what to do, or no pictures."""

from __future__ import annotations

import re

from mlimages_dataset.images.statuses import Status

AVIF = re.compile(rb"....ftyp(?:avi[fs]|m[is]f1....(?:....){0,16}?avi[fs])", re.DOTALL)
"""By the brands of its first box (ISO/IEC 23000-22, section 6; https://aomediacodec.github.io/av1-avif/#brands)."""

_CONVERT = "convert it to JPEG or PNG first"
_UNSUPPORTED = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        ("an AVIF picture: install Pillow from its wheel first, which decodes it", AVIF.pattern),
        (f"a HEIC picture: {_CONVERT}, for example with pillow-heif", rb"....ftyp(?:he[iv][cmsx]|m[is]f1)"),
        (f"a JPEG XL picture: {_CONVERT}, for example with djxl", rb"\xff\x0a|\0\0\0\x0cJXL "),
        (f"a JPEG 2000 picture: {_CONVERT}, for example with Pillow", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
        (f"a JPEG XR picture: {_CONVERT}", rb"II\xbc\x01"),
        (f"a Netpbm picture: {_CONVERT}", rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d|P7\nWIDTH|P[Ff]\n\d"),
        (f"an icon: {_CONVERT}", rb"\0\0[\x01\x02]\0[\x01-\xff]\0|icns"),
        (f"a PCX or SGI picture: {_CONVERT}", rb"\n[\0-\x05]\x01[\x01\x02\x04\x08]|\x01\xda[\0\x01][\x01\x02]"),
        (f"a Photoshop picture: {_CONVERT}", rb"8BP[SB]"),
        (f"a GIMP picture: {_CONVERT}", rb"gimp xcf"),
        (f"an OpenEXR or Radiance picture: {_CONVERT}", rb"v/1\x01|#\?(?:RADIANCE|RGBE)"),
        (f"a DirectDraw texture: {_CONVERT}", rb"DDS "),
        (f"a QOI picture: {_CONVERT}", rb"qoif"),
        (f"a camera's raw picture: {_CONVERT}", rb"FUJIFILMCCD-RAW|II(?:R[OS]|U\0)|....ftypcrx "),
        (f"a DICOM picture: {_CONVERT}", rb".{128}DICM"),
        ("an SVG drawing: render it first, for example with rsvg-convert", rb"(?i)\s*(?:<\?xml.{0,600}?)?<svg[\s>/]"),
    )
)
_NO_PICTURES = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        ("a web page", rb"(?i)\s*(?:<!--.{0,600}?-->\s*)?<(?:!doctype html|html|head|body|script|title)\b"),
        ("an XML text", rb"\s*<\?xml"),
        ("a JSON text", rb'\s*(?:\{\s*["}]|\[\s*[\[{"\]])'),
        ("a PDF or PostScript document", rb"%PDF-|%!PS"),
        ("a compressed file", rb"\x1f\x8b|PK\x03\x04|7z\xbc\xaf|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|Rar!"),
        ("a video", rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01\xba|....(?:moov|mdat)"),
        ("a sound", rb"RIFF....WAVE|ID3|OggS|fLaC"),
        ("a Git LFS pointer: fetch the file itself with git lfs pull", rb"version https://git-lfs"),
    )
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_PROCESSES = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "a lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "a hierarchical JPEG"),
    0xF7: "a JPEG-LS picture",
}
_SCAN = 0xDA


def kind_of(head: bytes) -> tuple[Status, str]:
    """Return the status and the kind, in words, of a file whose first bytes are those of no accepted format."""
    text = head.removeprefix(_BYTE_ORDER_MARK)
    for status, kinds in ((Status.UNSUPPORTED, _UNSUPPORTED), (Status.NOT_AN_IMAGE, _NO_PICTURES)):
        for kind, pattern in kinds:
            if pattern.match(text):
                return status, kind
    return Status.NOT_AN_IMAGE, f"begins with {text[:12]!r}"


def not_decoded_jpeg(content: bytes) -> str:
    """Return the kind of a JPEG that common decoders do not read, in words; empty if it is of a usual kind.

    Frames: ITU-T T.81, table B.1 (https://www.w3.org/Graphics/JPEG/itu-t81.pdf); JPEG-LS: ITU-T T.87, annex C.
    """
    at = 2
    while at + 4 < len(content) and content[at] == 0xFF:  # noqa: PLR2004 - begins every marker
        marker = content[at + 1]
        if marker in _START_OF_FRAME:
            bits = content[at + 4]
            kind = _PROCESSES.get(marker, "" if bits == 8 else f"a JPEG of {bits} bits a channel")  # noqa: PLR2004
            return f"{kind}: {_CONVERT}" if kind else ""
        if marker == _SCAN:
            return ""
        at += 1 if marker == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")  # noqa: PLR2004
    return ""
