"""Pictures as they come: what is broken is put aside and named, what is odd is read right."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.data.images import read_image
from model.errors import BudgetError
from tests.cropping.raw import png, raw_folder
from tests.stages.world import FACES, Bench, face

GOOD = 40  # pictures besides, so that a bad one is within the budget


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


def page(size: int = 240) -> Image.Image:
    paper = np.full((size, size, 3), 240, np.uint8)
    paper[40:200, 40:200] = face(1, 160)
    return Image.fromarray(paper)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of which only the header is there, and enough."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


BAD = {
    "empty": b"",
    "text": b"<html>404</html>",
    "cut in the header": saved(page())[:20],
    "cut in the middle": saved(page())[:9000],
    "half a jpeg": saved(page(), "JPEG", quality=95)[:4000],
    "a bomb": bomb(60_000, 60_000),
    "too wide": bomb(70_000, 2),
    "another format": saved(page(), "BMP"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_is_put_aside_with_its_reason_and_the_rest_is_cut(bench: Bench, kind: str) -> None:
    bench.values["crop"] = {**bench.values["crop"], "workers": 2}
    files = {f"{n}.png": (png(face(n % 4, 64)), {}) for n in range(GOOD)}
    raw_folder(bench, "mine", {**files, "bad.png": (BAD[kind], {})}, face="none")
    found = report(bench.crop("mine"))
    assert [item["page"] for item in found["unreadable"]] == ["bad.png"]
    assert "bad.png" in found["unreadable"][0]["reason"]
    assert found["counts"]["kept"] == GOOD


def test_many_bad_pictures_end_the_stage_before_all_are_worked_on(bench: Bench) -> None:
    files = {f"{n:02d}.png": (BAD["text"] + bytes([n]), {}) for n in range(20)}
    raw_folder(bench, "mine", files, face="none")
    with pytest.raises(BudgetError, match=r"3 of 20 images cannot be read, more than crop\.max_bad_fraction \(0\.1\)"):
        bench.crop("mine")
    assert not (bench.home / "faces" / "mine").exists()


def ramp() -> Image.Image:
    """Return a page in 16-bit grey."""
    return Image.fromarray(np.asarray(page().convert("L"), dtype=np.uint16) * 257)


def frames(kind: str) -> bytes:
    """Return an animation whose first frame has the face."""
    blank = Image.new("RGB", (240, 240), (9, 90, 9))
    options = {"lossless": True} if kind == "WEBP" else {}
    return saved(page(), kind, save_all=True, append_images=[blank, blank.rotate(90)], duration=50, **options)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(page().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


def clear() -> Image.Image:
    """Return a page whose paper is transparent red."""
    image = page().convert("RGBA")
    values = np.array(image)
    values[(values[..., :3] == 240).all(-1)] = (255, 0, 0, 0)
    return Image.fromarray(values)


ODD = {
    "plain": saved(page()),
    "16-bit": saved(ramp()),
    "alpha": saved(clear()),
    "cmyk": saved(page().convert("CMYK"), "JPEG", quality=100, subsampling=0),
    "turned": turned(),
    "gif": frames("GIF"),
    "apng": frames("PNG"),
    "webp": frames("WEBP"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_face_is_cut_from_odd_pictures_as_from_a_plain_one(bench: Bench, kind: str) -> None:
    given = {**FACES, "detector": {"kind": "given"}}
    bench.values["crop"] = {**bench.values["crop"], "faces": {"photo": given}}
    where = {"faces": [[70, 80, 100, 100]]}
    raw_folder(bench, "mine", {"odd.png": (ODD[kind], where), "plain.png": (saved(page()), where)})
    out = bench.crop("mine")
    odd, plain = (read_image(path).astype(int) for path in sorted((out / "crops").iterdir()))
    limit = 12 if kind in ("16-bit", "gif") else 4  # grey, and few colours
    assert np.abs(odd.mean(-1) - plain.mean(-1)).mean() < limit
    assert report(out)["animated"] == (["odd.png"] if kind in ("gif", "apng", "webp") else [])


def test_animations_are_counted(bench: Bench) -> None:
    raw_folder(bench, "mine", {f"{kind}.img": (ODD[kind], {}) for kind in ("gif", "apng", "webp", "plain")})
    assert report(bench.crop("mine"))["counts"]["animated"] == 3


def test_a_header_says_the_size_that_the_picture_has_when_it_is_read(tmp_path: Path) -> None:
    from model.data.images import read_header

    exif = Image.Exif()
    for orientation in range(9):
        exif[0x0112] = orientation
        (tmp_path / "a.png").write_bytes(saved(Image.new("RGB", (30, 20)), "JPEG", exif=exif))
        header = read_header(tmp_path / "a.png")
        assert (header.height, header.width) == read_image(tmp_path / "a.png").shape[:2]
        assert not header.animated
