"""Decode an image file to upright 8-bit RGB; a file that cannot be decoded is a DataError."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from ablations.errors import DataError

# Pillow converts these to RGB: it drops alpha and looks colours up in the palette.
_EIGHT_BIT_MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"]
_PREMULTIPLIED_MODES = {"La": "LA", "RGBa": "RGBA"}
# Formats in which the largest 16-bit value is white. In others (FITS, McIdas) it has no meaning.
_FULL_SCALE_FORMATS = ["PNG", "TIFF", "JPEG2000", "ICO", "ICNS"]  # the last two hold PNGs
# Formats that Pillow identifies but cannot decode (MPEG), or decodes with another program (EPS).
_EXCLUDED_FORMATS = ["EPS", "MPEG"]
ORIENTATION_TRANSPOSES = {  # EXIF orientation -> the operation that makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value of the second
ignore_warnings = partial(warnings.catch_warnings, action="ignore")
_HEADER_BYTES = 4096  # bytes that are read first of a file


@lru_cache(maxsize=1)
def supported_formats() -> tuple[str, ...]:
    """The formats that the installed Pillow decodes itself, in the order in which it tries them.

    Pillow detects the format from the content, whatever the name of the file: formats that it
    decodes by running another program must not be among these.
    """
    Image.init()

    def is_decoded(name: str) -> bool:
        factory = Image.OPEN[name][0]
        stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return not stub and name not in _EXCLUDED_FORMATS

    return tuple(name for name in Image.ID if is_decoded(name))


@lru_cache(maxsize=1)
def supported_suffixes() -> frozenset[str]:
    """The suffixes of ``supported_formats``, in lower case."""
    decoded = {*supported_formats(), "MPO"}  # Pillow opens MPO as JPEG
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in decoded)


def decode_image(path: Path, content: bytes | None = None) -> Image.Image:
    """The first frame of a file as RGB with 8 bits per channel, turned as its EXIF data says.

    Of 16-bit grey values the high byte is kept, as Pillow does for 16-bit colours.

    Args:
        path: The file.
        content: Its bytes, if they have been read already.

    Raises:
        DataError: It cannot be decoded, or its values have no agreed scale.
    """
    image = try_decode(path, content)
    if isinstance(image, str):
        raise DataError(f"{path} {image}")
    return image


def try_decode(path: Path, content: bytes | None = None) -> Image.Image | str:
    """As ``decode_image``; why it fails, instead of an error."""
    try:
        # Pillow warns of damaged metadata and of large sizes; the image itself is complete.
        source = path if content is None else io.BytesIO(content)
        with ignore_warnings(), Image.open(source, formats=supported_formats()) as image:
            image.load()
            turn = ORIENTATION_TRANSPOSES.get(orientation(image))
            rgb = _to_rgb(image)
            if rgb is None:
                return (
                    f"has Pillow's mode {image.mode} ({image.format}), whose values have no agreed "
                    "scale: save it with 8 or 16 bits a channel, as PNG for example"
                )
            return rgb if turn is None else rgb.transpose(turn)
    except Exception as error:  # decoders raise errors of any class
        return f"cannot be decoded: {decode_error_reason(error)}"


def _to_rgb(image: Image.Image) -> Image.Image | None:
    """An image in RGB; None where its values have no agreed scale."""
    if image.mode in _EIGHT_BIT_MODES:
        return image.convert("RGB")
    if image.mode in _PREMULTIPLIED_MODES:
        return image.convert(_PREMULTIPLIED_MODES[image.mode]).convert("RGB")
    if not is_sixteen_bit(image):
        return None
    values = np.asarray(image).astype(np.int64)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    high = np.clip(values >> (bits - 8), 0, 255).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts 8-bit images only
        high = 255 - high
    return Image.fromarray(high).convert("RGB")


def is_sixteen_bit(image: Image.Image) -> bool:
    """Whether an image has one channel of more than 8 bits whose largest value is white."""
    if image.mode.startswith("I;16"):
        return image.format in _FULL_SCALE_FORMATS
    return image.mode == "I" and image.format == "PPM"  # PGM: Pillow scales it to 16 bits


def orientation(image: Image.Image) -> int:
    """The EXIF or XMP orientation, 1 to 8; 1 where there is none or the metadata is damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # unreadable metadata counts as none
        return 1


def decode_error_reason(error: BaseException) -> str:
    """Why a file cannot be decoded, without its name."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image that Pillow can read"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip() or type(error).__name__


def any_decoding_changed(paths: list[Path]) -> bool:
    """Whether ``changed`` holds for any of these files; for a million it takes about a minute."""
    parts = [paths[start : start + 500] for start in range(0, len(paths), 500)]
    with ThreadPoolExecutor(8) as pool:  # a network file system serves many requests at once
        for found in pool.map(lambda part: any(map(decoding_changed, part)), parts):
            if found:
                pool.shutdown(wait=False, cancel_futures=True)
                return True
    return False


def decoding_changed(path: Path) -> bool:
    """Whether older versions decoded a file otherwise: they ignored orientation and 16-bit grey.

    Only files whose first bytes may have either are opened.
    """
    try:
        with path.open("rb", buffering=_HEADER_BYTES) as file:
            if not _may_have_changed(file):
                return False
        with ignore_warnings(), Image.open(path) as image:
            if image.format == "TIFF":  # Pillow itself turns these, in all versions
                return is_sixteen_bit(image)
            return is_sixteen_bit(image) or orientation(image) in ORIENTATION_TRANSPOSES
    except Exception:  # decoding it later reports the error
        return False


def _may_have_changed(file: BinaryIO) -> bool:
    """Whether a file may have an orientation or 16-bit grey values, by its format and segments."""
    head = file.read(26)
    file.seek(0)
    if head.startswith(b"\xff\xd8"):
        return any(marker == 0xE1 for marker in _jpeg_segments(file))
    if head.startswith(b"\x89PNG"):
        return head[24:26] == b"\x10\x00" or any(map(_is_metadata_chunk, _png_chunks(file)))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return head[12:16] == b"VP8X" and bool(head[20] & 0b1100)  # EXIF or XMP
    return not head.startswith((b"BM", b"GIF8", b"P6", b"P4"))


def _jpeg_segments(file: BinaryIO) -> Iterator[int]:
    """The markers before the scan. 0xE1 has EXIF or XMP data; invalid markers count as 0xE1."""
    file.seek(2)
    while len(start := file.read(4)) == 4 and start[1] != 0xDA:
        yield start[1] if start[0] == 0xFF and 0xC0 <= start[1] < 0xFF else 0xE1
        file.seek(int.from_bytes(start[2:]) - 2, os.SEEK_CUR)


def _png_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The type and first bytes of each chunk."""
    file.seek(8)
    while len(start := file.read(32)) > 8:
        yield start[4:]
        file.seek(int.from_bytes(start[:4]) + 12 - len(start), os.SEEK_CUR)


def _is_metadata_chunk(chunk: bytes) -> bool:
    texts = (b"tEXt", b"zTXt", b"iTXt")
    own = chunk.startswith(texts) and chunk[4:].startswith((b"Raw profile type", b"XML:com.adobe"))
    return own or chunk.startswith(b"eXIf")
