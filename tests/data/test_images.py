"""Reading: every format a folder of pictures may hold. The zoo is made here, not shipped."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from model.data.images import (
    MAX_PIXELS,
    centre_square,
    encode_image,
    from_uint8,
    read_image,
    resize,
    to_uint8,
    write_png,
)
from model.errors import CorruptInputError, MissingInputError

RED = (200, 40, 30)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def flat(mode: str = "RGB", colour: object = RED, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def corners(size: tuple[int, int] = (32, 24)) -> Image.Image:
    """Four quarters of different colours: every turn and flip looks different."""
    image = Image.new("RGB", size, (250, 0, 0))
    w, h = size[0] // 2, size[1] // 2
    image.paste((0, 250, 0), (w, 0, 2 * w, h))
    image.paste((0, 0, 250), (0, h, w, 2 * h))
    image.paste((250, 250, 0), (w, h, 2 * w, 2 * h))
    return image


def palette(**options: object) -> Image.Image:
    return flat().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)


ZOO: dict[str, tuple[Callable[[], Image.Image], dict[str, object], tuple[int, int, int], int]] = {
    # name: (image, options of saving, expected colour, tolerance)
    "rgb.png": (flat, {}, RED, 0),
    "rgb.jpg": (flat, {"quality": 95}, RED, 3),
    "progressive.jpg": (flat, {"quality": 95, "progressive": True}, RED, 3),
    "rgb.webp": (flat, {"lossless": True}, RED, 0),
    "rgb.gif": (flat, {}, RED, 26),
    "upper.JPEG": (flat, {"quality": 95}, RED, 3),
    "grey.png": (lambda: flat("L", 77), {}, (77, 77, 77), 0),
    "grey.jpg": (lambda: flat("L", 77), {}, (77, 77, 77), 1),
    "grey.gif": (lambda: flat("L", 77), {}, (77, 77, 77), 0),
    "one_bit_black.png": (lambda: flat("1", 0), {}, (0, 0, 0), 0),
    "one_bit_white.png": (lambda: flat("1", 1), {}, (255, 255, 255), 0),
    "two_bit.png": (palette, {"bits": 2}, RED, 0),
    "palette.png": (palette, {}, RED, 0),
    "palette_transparent.png": (palette, {"transparency": 0}, (255, 255, 255), 0),
    "palette_half.png": (palette, {"transparency": bytes([128, 255, 255, 255])}, (227, 147, 142), 1),
    "rgb_transparent_colour.png": (flat, {"transparency": RED}, (255, 255, 255), 0),
    "grey_transparent_value.png": (lambda: flat("L", 77), {"transparency": 77}, (255, 255, 255), 0),
    "one_bit_transparent.png": (lambda: flat("1", 0), {"transparency": 0}, (255, 255, 255), 0),
    "rgba_clear.png": (lambda: flat("RGBA", (*RED, 0)), {}, (255, 255, 255), 0),
    "rgba_half.png": (lambda: flat("RGBA", (*RED, 128)), {}, (227, 147, 142), 1),
    "rgba_solid.png": (lambda: flat("RGBA", (*RED, 255)), {}, RED, 0),
    "rgba_half.webp": (lambda: flat("RGBA", (*RED, 128)), {"lossless": True, "exact": True}, (227, 147, 142), 1),
    "la_half.png": (lambda: flat("LA", (100, 128)), {}, (177, 177, 177), 1),
    "cmyk.jpg": (lambda: flat().convert("CMYK"), {"quality": 100, "subsampling": 0}, RED, 2),
    "transparent.gif": (palette, {"transparency": 0}, (255, 255, 255), 0),
    "sixteen_bit.png": (lambda: Image.fromarray(np.full((30, 40), 32_896, np.uint16)), {}, (128, 128, 128), 0),
    "sixteen_bit_white.png": (lambda: Image.fromarray(np.full((30, 40), 65_535, np.uint16)), {}, (255, 255, 255), 0),
    "sixteen_bit_dark.png": (lambda: Image.fromarray(np.full((30, 40), 300, np.uint16)), {}, (1, 1, 1), 0),
    "sixteen_bit_transparent.png": (
        lambda: Image.fromarray(np.full((30, 40), 300, np.uint16)), {"transparency": 300}, (255, 255, 255), 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_every_format_reads_as_8_bit_srgb_on_white(tmp_path: Path, name: str) -> None:
    make, options, expected, tolerance = ZOO[name]
    image = read_image(save(tmp_path / name, make(), **options))
    assert image.shape == (30, 40, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).max() <= tolerance


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, data) for kind, data in parts)


def test_sixteen_bit_colour_png_keeps_its_brightness(tmp_path: Path) -> None:
    pixel = struct.pack(">HHH", 200 * 257, 40 * 257, 30 * 257)
    (tmp_path / "a.png").write_bytes(raw_png(4, 2, 16, 2, (b"\0" + pixel * 4) * 2))
    assert (read_image(tmp_path / "a.png") == RED).all()


def test_interlaced_sixteen_bit_ramp_is_linear(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65_535, 256).round().astype(np.uint16), (4, 1))
    image = read_image(save(tmp_path / "ramp.png", Image.fromarray(ramp)))
    assert (image[0, :, 0] == np.arange(256)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = corners()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that the camera's turn amounts to
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}.get(suffix, {})
    image = read_image(save(tmp_path / f"a{suffix}", stored, exif=exif, **options))
    assert np.abs(image.astype(int) - np.asarray(upright).astype(int)).mean() < 4


def test_broken_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", flat(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_image(path).shape == (30, 40, 3)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_gives_its_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [flat(colour=(200, 0, 0)), flat(colour=(0, 200, 0)), flat(colour=(0, 0, 200))]
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(tmp_path / f"a{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    assert np.abs(read_image(path)[0, 0].astype(int) - (200, 0, 0)).max() <= 10


def test_an_embedded_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    # A wide gamut: the same numbers mean a stronger green there. Written out as a matrix profile, as cameras do.
    profile = swapped_profile()
    path = save(tmp_path / "a.png", flat(colour=(250, 10, 10)), icc_profile=profile)
    assert read_image(path)[0, 0].argmax() == 2


def swapped_profile() -> bytes:
    """An RGB profile whose red and blue primaries are exchanged: unmistakable when it is applied."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", data, 128)[0]
    table = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = table[b"rXYZ"], table[b"bXYZ"]
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


@pytest.mark.parametrize("profile", [b"", b"not a profile", b"\0" * 200])
def test_an_unusable_profile_is_left_aside(tmp_path: Path, profile: bytes) -> None:
    path = save(tmp_path / "a.png", flat(), icc_profile=profile)
    assert (read_image(path) == RED).all()


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(tmp_path / "a.png", corners(), icc_profile=profile)
    assert (read_image(path) == np.asarray(corners())).all()


def noisy(size: int = 64) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize(("name", "options"), [
    ("a.jpg", {"quality": 90}), ("p.jpg", {"progressive": True}), ("a.png", {}), ("a.webp", {"lossless": True}),
    ("a.gif", {}),
])  # fmt: skip
def test_a_cut_file_is_refused_by_name_or_read_whole(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    whole = save(tmp_path / name, noisy(), **options).read_bytes()
    complete = read_image(tmp_path / name)
    for kept in [0, 1, 3, 10, 40, *range(100, len(whole) - 16, max(1, len(whole) // 23))]:
        (tmp_path / name).write_bytes(whole[:kept])
        with pytest.raises(CorruptInputError, match=name):
            read_image(tmp_path / name)
    for kept in range(len(whole) - 16, len(whole)):  # only an end marker or checksum is missing: all or nothing
        (tmp_path / name).write_bytes(whole[:kept])
        try:
            assert (read_image(tmp_path / name) == complete).all()
        except CorruptInputError as error:
            assert name in str(error)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif"])
def test_flipped_bytes_never_raise_anything_but_our_error(tmp_path: Path, name: str) -> None:
    whole = bytearray(save(tmp_path / name, noisy(24)).read_bytes())
    random = np.random.default_rng(1)
    for _ in range(150):
        broken = bytearray(whole)
        for at in random.integers(0, len(whole), 3):
            broken[at] = random.integers(256)
        (tmp_path / name).write_bytes(broken)
        try:
            assert read_image(tmp_path / name).ndim == 3
        except CorruptInputError as error:
            assert name in str(error)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"<!DOCTYPE html><html>403</html>", b"\x89PNG\r\n\x1a\n", b"BM" * 99]
)
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.jpg").write_bytes(content)
    with pytest.raises(CorruptInputError, match=r"page\.jpg.*JPEG, PNG, WEBP, GIF"):
        read_image(tmp_path / "page.jpg")


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".ppm", ".eps"])
def test_formats_outside_the_list_are_not_even_tried(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", flat())
    with pytest.raises(CorruptInputError, match="not a readable"):
        read_image(path)


@pytest.mark.parametrize(("width", "height"), [(8_000, 7_501), (12_000, 12_000), (30_000, 30_000), (70_000, 10)])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "bomb.png").write_bytes(raw_png(width, height, 8, 2, b""))  # decoding it would say "broken"
    with pytest.raises(CorruptInputError, match=r"bomb\.png.*(60 megapixels)"):
        read_image(tmp_path / "bomb.png")


def test_a_very_tall_strip_is_read(tmp_path: Path) -> None:
    assert MAX_PIXELS > 800 * 20_000
    path = save(tmp_path / "strip.png", Image.new("L", (80, 20_000), 200), compress_level=1)
    assert read_image(path).shape == (20_000, 80, 3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="nobody"):
        read_image(tmp_path / "nobody.png")


def test_pillow_is_never_told_to_accept_truncated_files() -> None:
    from PIL import ImageFile

    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_resize_is_antialiased() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, 32)
    assert small.shape == (32, 32, 3)
    assert abs(float(small[:, 4:-4].mean()) - 127.5) < 2
    assert small[:, 4:-4].std() < 4


def test_resize_to_the_same_size_changes_nothing() -> None:
    image = np.asarray(noisy(32))
    assert (resize(image, 32) == image).all()


def test_resize_refuses_to_distort() -> None:
    with pytest.raises(ValueError, match="40 x 30"):
        resize(np.zeros((30, 40, 3), np.uint8), 16)


def test_centre_square_is_centred() -> None:
    image = np.zeros((30, 41, 3), np.uint8)
    image[:, 5:35] = 9
    assert (centre_square(image) == 9).all()


def test_all_256_values_survive_the_way_to_the_network_and_back() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    values = from_uint8(image)
    assert values.shape == (1, 3, 16, 16)
    assert values.dtype == torch.float32
    assert (values.min(), values.max()) == (-1.0, 1.0)
    assert (to_uint8(values) == image).all()


def test_network_output_outside_the_range_is_clipped() -> None:
    out = to_uint8(torch.tensor([-7.0, -1.0, 0.0, 1.0, 7.0]).reshape(1, 1, 1, 5).repeat(1, 3, 1, 1))
    assert out[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_png_bytes_depend_on_the_pixels_alone(tmp_path: Path) -> None:
    image = np.asarray(noisy())
    assert write_png(tmp_path / "a.png", image) == write_png(tmp_path / "b.png", image.copy(order="F"))
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.info == {}
        assert (np.asarray(opened) == image).all()


@pytest.mark.parametrize(("codec", "error"), [("png", 0), ("webp", 0), ("jpeg", 3)])
def test_codecs_keep_the_picture(codec: str, error: float) -> None:
    smooth = resize(np.asarray(noisy(8)), 64)
    with Image.open(io.BytesIO(encode_image(smooth, codec))) as opened:
        assert np.abs(np.asarray(opened).astype(int) - smooth).mean() <= error


def test_an_unknown_codec_lists_the_known() -> None:
    with pytest.raises(ValueError, match="png, jpeg, webp"):
        encode_image(np.asarray(noisy()), "bmp")
