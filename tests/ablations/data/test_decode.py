"""Decoding: every mode and format gives the image of an 8-bit copy, upright, or an error."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch._utils import ExceptionWrapper

from ablations.data import mini
from ablations.data.decode import (
    any_decoding_changed,
    decode_image,
    decoding_changed,
    supported_suffixes,
)
from ablations.errors import DataError

GREY = mini.load_mini().train.images[7, :, :20, 0]  # (28, 20): neither square nor symmetric

NOT_UTF8 = b"/data/caf\xe9\n.jpg"


def wide(dtype: str = "<u2") -> np.ndarray:
    """The same image with 16 bits."""
    return (GREY.astype(np.int64) * 257).astype(dtype)


def decoded(path: Path) -> np.ndarray:
    """The decoded image (H, W, 3) of a file."""
    image = decode_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def tiff(rows: bytes, bits: int, width: int, photometric: int = 1) -> bytes:
    """An uncompressed grey TIFF of one row; Pillow cannot write all depths."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8)]
    tags += [(277, 1), (278, 1), (279, len(rows))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    begin = 8 + len(rows) + len(rows) % 2
    body = rows + bytes(begin - 8 - len(rows))
    return (
        b"II*\0"
        + struct.pack("<I", begin)
        + body
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "pgm", "pnm"])
@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_16_bit_grey_is_decoded_as_its_8_bit_copy(tmp_path, suffix, mode):
    path = tmp_path / f"image.{suffix}"
    values = wide("<u2" if mode == "I;16" else ">u2")
    image = Image.frombytes(mode, (20, 28), values.tobytes())
    if suffix in ("pgm", "pnm"):
        image = Image.fromarray(wide("i4"))  # Pillow's mode for it
    image.save(path)
    assert np.array_equal(decoded(path), GREY[..., None].repeat(3, axis=2))
    assert decoding_changed(path)


def test_a_16_bit_tiff_with_white_as_zero_is_inverted_as_an_8_bit_one(tmp_path):
    rows = {8: GREY[3].tobytes(), 16: wide()[3].tobytes()}
    images = {}
    for bits, row in rows.items():
        path = tmp_path / f"{bits}.tif"
        path.write_bytes(tiff(row, bits, 20, photometric=0))
        images[bits] = decoded(path)
    assert np.array_equal(images[8], images[16])
    assert np.array_equal(images[8][0, :, 0], 255 - GREY[3])


def test_a_12_bit_tiff_is_scaled_from_12_bits(tmp_path):
    path = tmp_path / "image.tif"
    pairs = [
        (first << 4 | first >> 4, second << 4 | second >> 4)
        for first, second in GREY[3].reshape(-1, 2).tolist()
    ]
    packed = b"".join((first << 12 | second).to_bytes(3) for first, second in pairs)
    path.write_bytes(tiff(packed, 12, 20))
    assert np.array_equal(decoded(path)[0, :, 0], GREY[3])


@pytest.mark.parametrize(
    ("suffix", "values"),
    [
        ("tif", GREY.astype(np.float32) / 255),
        ("tif", GREY.astype(np.int32)),
        ("pfm", GREY.astype(np.float32)),
        ("im", wide()),
    ],
)
def test_values_without_an_agreed_scale_are_refused(tmp_path, suffix, values):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=rf"image\.{suffix} has Pillow's mode .* no agreed scale"):
        decode_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "LAB"])
def test_8_bit_modes_are_converted_as_pillow_does(tmp_path, mode):
    path = tmp_path / "image.tif"
    image = Image.fromarray(GREY)
    image = image.convert("RGB") if mode == "LAB" else image
    image.convert(mode).save(path)
    with Image.open(path) as there:
        assert there.mode == mode
        assert np.array_equal(decoded(path), np.asarray(there.convert("RGB")))
    assert not decoding_changed(path)


def test_the_transparency_of_a_palette_is_ignored(tmp_path):
    path = tmp_path / "image.png"
    image = Image.fromarray(GREY).convert("P")
    image.save(path, transparency=bytes(range(256)))
    assert np.array_equal(decoded(path)[..., 0], GREY)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tif", "mpo", "apng"])
@pytest.mark.parametrize("orientation", range(9))
def test_images_are_turned_by_their_exif_orientation(tmp_path, suffix, orientation):
    path = tmp_path / f"image.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(GREY).convert("RGB").save(path, exif=exif, **more)
    with Image.open(path) as image:
        plain = np.asarray(image.convert("RGB"))
        turned = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(decoded(path), turned)
    before = not np.array_equal(plain, turned)
    assert before == (orientation > 1 and suffix != "tif")  # which Pillow turns itself
    assert decoding_changed(path) == before


def test_xmp_orientation_counts_and_damaged_exif_data_is_ignored(tmp_path):
    image = Image.fromarray(GREY).convert("RGB")
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    image.save(tmp_path / "xmp.jpg", xmp=xmp)
    assert decoded(tmp_path / "xmp.jpg").shape == (20, 28, 3)
    assert decoding_changed(tmp_path / "xmp.jpg")
    image.save(tmp_path / "damaged.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xffnonsense")
    assert decoded(tmp_path / "damaged.jpg").shape == (28, 20, 3)
    assert not decoding_changed(tmp_path / "damaged.jpg")


def test_16_bit_images_are_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(wide()).save(tmp_path / "image.png", exif=exif)
    assert np.array_equal(decoded(tmp_path / "image.png")[..., 0], np.rot90(GREY, 3))


def whole() -> list[tuple[str, bytes]]:
    """A file of each format that Pillow writes."""
    image = Image.fromarray(GREY).convert("RGB")
    found = []
    for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "AVIF", "TGA", "PPM"):
        file = io.BytesIO()
        image.save(file, name)
        found.append((name, file.getvalue()))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(whole()),
    st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=6)), max_size=4),
    st.floats(0, 1),
)
def test_a_damaged_file_is_reported_by_name(file, edits, kept):
    """A damaged file decodes to an image, or gives one line with its name; no other error."""
    content = bytearray(file[1])
    for where, new in edits:
        where %= len(content)
        content[where : where + len(new)] = new
    path = Path("/data/train/a/x.jpg")
    try:
        assert decode_image(path, bytes(content[: int(len(content) * kept)])).mode == "RGB"
    except DataError as error:
        assert str(error).startswith("/data/train/a/x.jpg cannot be decoded: ")
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "error",
    [
        Image.DecompressionBombError("too large"),
        struct.error("unpack requires a buffer"),
        SyntaxError("broken PNG file"),
        MemoryError(),
        OverflowError(),
        AssertionError(),
        EOFError(),
        NotImplementedError("no codec"),
        RuntimeError("two\nlines"),
        OSError(5, "Input/output error"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_of_a_decoder_becomes_a_data_error_with_a_reason(tmp_path, monkeypatch, error):
    path = tmp_path / "image.png"
    Image.fromarray(GREY).save(path)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(DataError, match=r"image.png cannot be decoded: \S") as caught:
        decode_image(path)
    assert "\n" not in str(caught.value)


def test_only_images_above_pillows_limit_of_pixels_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    Image.fromarray(GREY).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.size * 2 // 3)  # Pillow warns here
    assert decoded(path).shape == (28, 20, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.size // 3)
    with pytest.raises(DataError, match=r"image.png cannot be decoded: Image size \(560 pixels\)"):
        decode_image(path)


def test_decoding_does_not_silence_later_warnings(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(GREY).save(path)
    decode_image(path)
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)


def test_a_data_error_from_a_loader_process_is_one_clean_line():
    error = DataError(f"{os.fsdecode(NOT_UTF8)} is empty")
    assert str(error) == r"/data/caf\udce9\n.jpg is empty"
    try:
        raise error from ValueError("below")
    except DataError:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(DataError) as caught:
        pickle.loads(pickle.dumps(wrapped)).reraise()
    assert str(caught.value) == str(error)


def test_supported_suffixes_are_those_that_pillow_decodes_itself():
    assert {
        ".jpg",
        ".jpeg",
        ".png",
        ".gif",
        ".avif",
        ".jp2",
        ".webp",
        ".tiff",
        ".mpo",
    } <= supported_suffixes()
    # Decoded by another program, identified but not decoded, or only written.
    assert not {".eps", ".ps", ".mpg", ".h5", ".wmf", ".pdf", ".txt"} & supported_suffixes()


def test_a_file_that_needs_another_program_is_refused_whatever_its_suffix(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a program was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", fail)
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert("RGB").save(buffer, "EPS")
    path = tmp_path / "x.jpg"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"x\.jpg cannot be decoded: it is no image that Pillow"):
        decode_image(path)


def test_any_decoding_changed_checks_all_files(tmp_path):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(GREY).save(paths[-1])
    assert not any_decoding_changed(paths * 400)
    Image.fromarray(wide()).save(paths[2])
    assert any_decoding_changed(paths)
    assert not any_decoding_changed([])
