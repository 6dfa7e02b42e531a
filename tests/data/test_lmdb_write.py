"""Writing an LMDB folder: the same content from any number of workers, read back before it is published."""

from __future__ import annotations

import hashlib
import io
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

import model.data.lmdb_write
from model.data.faces.crops import sharpness
from model.data.images import UInt8, resize, write_png
from model.data.lmdb import DATA, LmdbImages, key_of
from model.data.lmdb_write import Packing, check_records, put, write_lmdb
from model.data.statistics import colour, measure, quantiles
from model.errors import CorruptInputError, MissingInputError, ResourceError, UsageError
from model.files import sha256_file, verify_manifest, write_manifest
from tests.data.packing import SIZE, pictures, write
from tests.stages.world import face

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "db", pictures())
    return tmp_path / "db"


def records(folder: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def old_reader(folder: Path, size: int) -> list[UInt8]:
    """As rosinality's MultiResolutionDataset reads: its options, its key, its length."""
    env = lmdb.open(str(folder), max_readers=32, readonly=True, lock=False, readahead=False, meminit=False)
    images = []
    with env.begin(write=False) as transaction:
        for index in range(int(transaction.get(b"length").decode("utf-8"))):
            value = transaction.get(f"{size}-{str(index).zfill(5)}".encode())
            images.append(np.asarray(Image.open(io.BytesIO(value))))
    env.close()
    return images


@pytest.mark.parametrize("codec", ["png", "webp"])
def test_the_old_code_reads_every_size_and_lossless_is_exact(tmp_path: Path, codec: str) -> None:
    big = pictures(5, 64)
    write_lmdb(tmp_path / "db", big, list("abcde"), Packing([64, 16, 32], codec, 2))
    for size in (16, 32, 64):
        expected = [resize(image, size) for image in big]
        assert (np.stack(old_reader(tmp_path / "db", size)) == np.stack(expected)).all()
        assert (LmdbImages(tmp_path / "db", size).read_all() == np.stack(expected)).all()
    assert LmdbImages(tmp_path / "db", 64).meta["sizes"] == [64, 16, 32]


def test_the_old_code_reads_jpeg_of_quality_100_which_is_close(tmp_path: Path) -> None:
    smooth = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in (10, 100, 200)]
    write(tmp_path / "db", smooth, "jpeg")
    for images in (old_reader(tmp_path / "db", SIZE), LmdbImages(tmp_path / "db", SIZE).read_all()):
        assert np.abs(np.stack(images).astype(int) - np.stack(smooth)).max() <= 1
    assert Image.open(io.BytesIO(records(tmp_path / "db")[key_of(SIZE, 0)])).format == "JPEG"


def test_both_read_more_than_99_999_images_whose_keys_no_longer_sort_by_number(tmp_path: Path) -> None:
    assert (key_of(256, 17), key_of(64, 123_456)) == (b"256-00017", b"64-123456")
    count, first = 100_002, tmp_path / "one"
    write(first, pictures(1))
    value = records(first)[key_of(SIZE, 0)]
    (tmp_path / "many").mkdir()
    with lmdb.open(str(tmp_path / "many"), map_size=1 << 30, lock=False, sync=False) as env:
        put(env, [(b"length", str(count).encode()), *((key_of(SIZE, index), value) for index in range(count))])
    write_manifest(tmp_path / "many")
    images = LmdbImages(tmp_path / "many", SIZE)
    assert len(images) == count
    for index in (0, 9_999, 10_000, 99_999, 100_000, count - 1):
        assert (images[index] == pictures(1)[0]).all()
    del images  # LMDB opens a file once per process
    with lmdb.open(str(tmp_path / "many"), readonly=True, lock=False) as env, env.begin() as transaction:
        for index in (99_999, 100_001):
            assert transaction.get(f"{SIZE}-{str(index).zfill(5)}".encode()) == value


def test_the_content_is_the_same_for_1_2_and_4_workers_and_its_hash_says_so(tmp_path: Path) -> None:
    images = [*pictures(300), *pictures(3, 40)]
    written = {workers: write(tmp_path / f"db{workers}", images, workers=workers) for workers in (1, 2, 4)}
    contents = [records(tmp_path / f"db{workers}") for workers in written]
    assert contents[0] == contents[1] == contents[2]
    lines = "".join(f"{k.decode()} {hashlib.sha256(v).hexdigest()}\n" for k, v in sorted(contents[0].items()))
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert {one.content_sha256 for one in written.values()} == {expected}
    assert verify_manifest(tmp_path / "db4")["content_sha256"] == expected
    assert len({sha256_file(tmp_path / f"db{workers}" / DATA) for workers in written}) == 1


def test_another_picture_name_or_codec_is_another_content(tmp_path: Path) -> None:
    def digest(images: list[UInt8], name: str = "a", codec: str = "png") -> str:
        return write_lmdb(tmp_path / "db", images, [name], Packing([SIZE], codec, 1)).content_sha256

    other = pictures(1)[0].copy()
    other[3, 4, 1] ^= 1
    digests = [digest(pictures(1)), digest([other]), digest(pictures(1), "b"), digest(pictures(1), codec="webp")]
    assert len(set(digests)) == 4
    assert digest(pictures(1)) == digests[0]


def test_files_of_any_shape_are_squared_and_resized_and_named(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((40, 64, 3), 9, np.uint8))
    write_lmdb(tmp_path / "db", [tmp_path / "a.png"], ["a"], Packing([SIZE], "png", 1))
    images = LmdbImages(tmp_path / "db", SIZE)
    assert (images[0] == np.full((SIZE, SIZE, 3), 9)).all()
    assert images.meta["sources"] == [{"name": "a", "sha256": sha256_file(tmp_path / "a.png")}]
    assert (images.meta["codec"], images.meta["resample"]) == ("png", "lanczos")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_would_be_enlarged_is_refused_by_name(tmp_path: Path, workers: int) -> None:
    write_png(tmp_path / "small.png", np.zeros((40, 15, 3), np.uint8))
    with pytest.raises(UsageError, match=r"small\.png: its square has 15 px, lmdb\.sizes asks for 16"):
        write_lmdb(tmp_path / "db", [tmp_path / "small.png"], ["a"], Packing([8, 16], "png", workers))
    assert not (tmp_path / "db").exists()


def test_one_image_and_many_equal_ones_are_written(tmp_path: Path) -> None:
    for images in (pictures(1), pictures(1) * 40):
        write(tmp_path / "db", images)
        assert (LmdbImages(tmp_path / "db", SIZE).read_all() == np.stack(images)).all()


def test_the_map_grows_until_the_data_fits(tmp_path: Path) -> None:
    write(tmp_path / "db", pictures(600), map_size=64 * 1024)
    assert (tmp_path / "db" / DATA).stat().st_size > 5 * 64 * 1024
    assert (LmdbImages(tmp_path / "db", SIZE).read_all() == np.stack(pictures(600))).all()


def test_the_map_grows_when_later_images_are_larger_than_the_first_let_expect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.data.lmdb_write, "BATCH", 20_000)
    flat = [np.full((SIZE, SIZE, 3), 7, np.uint8)] * 300
    write(tmp_path / "db", [*flat, *pictures(3000)])
    assert (tmp_path / "db" / DATA).stat().st_size > 1 << 20
    assert (LmdbImages(tmp_path / "db", SIZE)[3299] == pictures(3000)[2999]).all()


def test_what_a_folder_holds_is_returned(tmp_path: Path) -> None:
    images = pictures(4)
    written = write(tmp_path / "db", images, workers=2)
    assert written.bytes == (tmp_path / "db" / DATA).stat().st_size
    for image, looks in zip(images, written.looks, strict=True):
        assert looks.mean == pytest.approx(image.mean((0, 1)))
        assert looks.square == pytest.approx((image.astype(float) ** 2).mean((0, 1)))


FULL = """
import resource, sys; from pathlib import Path
import numpy as np
from model.data.lmdb_write import Packing, write_lmdb
from model.errors import ResourceError
if __name__ == "__main__":
    if len(sys.argv) > 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    images = list(np.random.default_rng(0).integers(0, 256, (40, 256, 256, 3), dtype=np.uint8))
    try:
        write_lmdb(Path(sys.argv[1]), images, [str(n) for n in range(40)], Packing([256], "png", 2))
    except ResourceError as error:
        sys.stdout.write(str(error))
"""


def write_too_much(tmp_path: Path, disk: Path, *limit: str) -> str:
    """Write over a small LMDB one that does not fit; check that the old one stays alone; return the message."""
    write(disk / "db", pictures())
    before = records(disk / "db")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "full.py").write_text(FULL)
    command = [sys.executable, tmp_path / "full.py", disk / "db", *limit]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    assert [path.name for path in disk.iterdir()] == ["db"]
    assert records(disk / "db") == before
    return done.stdout


def test_a_limit_on_the_size_of_files_is_named_and_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    said = write_too_much(tmp_path, tmp_path / "disk", "2000000")
    assert "LMDB cannot write" in said
    assert "check the disk and run again" in said


def test_a_full_disk_is_named_and_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:  # no right to: a limit stands in, with its own message
        assert "LMDB cannot write" in write_too_much(tmp_path, disk, "2000000")
        return
    try:
        said = write_too_much(tmp_path, disk)
        assert "disk is full" in said
        assert "MiB are needed" in said
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_named_by_whatever_fails_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise lmdb.DiskError("No space left on device")

    monkeypatch.setattr(model.data.lmdb_write, "put", full)
    with pytest.raises(ResourceError, match="disk is full"):
        write(tmp_path / "db", pictures())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_or_missing_picture_stops_the_writing_and_leaves_the_old_folder(
    folder: Path, tmp_path: Path, workers: int
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no")
    for name, kind in (("bad.png", CorruptInputError), ("gone.png", MissingInputError)):
        with pytest.raises(kind, match=name):
            write_lmdb(folder, [tmp_path / name], [name], Packing([SIZE], "png", workers))
    assert len(LmdbImages(folder, SIZE)) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png", "db"]


def test_no_images_unknown_codecs_and_senseless_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to write"):
        write(tmp_path / "db", [])
    with pytest.raises(UsageError, match="png, jpeg, webp"):
        Packing([16], "bmp", 1)
    for sizes in ([], [0], [16, 16]):
        with pytest.raises(UsageError, match=r"lmdb\.sizes"):
            Packing(sizes, "png", 1)


def damage(kind: str, file: Path) -> None:
    content = bytearray(file.read_bytes())
    if kind == "cut off":
        content = content[: len(content) // 2]
    else:
        for found in re.finditer(b"IDAT", bytes(content)):  # all: some may lie in parts of pages that are not used
            content[found.end() + 30] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "message"), [("cut off", "truncated"), ("flipped", "record 16-0000[0-7]: other byte")]
)
def test_a_file_that_reads_back_differently_is_never_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    read_back = model.data.lmdb_write._read_back

    def damaged_first(folder: Path, *rest: object) -> None:
        damage(kind, folder / DATA)
        read_back(folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(model.data.lmdb_write, "_read_back", damaged_first)
    with pytest.raises(CorruptInputError, match=f"reads back differently: .*{message}"):
        write(tmp_path / "db", pictures())
    assert list(tmp_path.iterdir()) == []


def killed_by_a_bus_error(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGBUS)


def test_a_reader_killed_by_the_file_is_an_error_and_not_the_end_of_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    monkeypatch.setattr(model.data.lmdb_write, "check_records", killed_by_a_bus_error)
    with pytest.raises(ResourceError, match="killed the process"):
        write(tmp_path / "db", pictures())
    assert list(tmp_path.iterdir()) == []


def test_reading_back_compares_pixels_count_and_bytes(folder: Path, tmp_path: Path) -> None:
    content = records(folder)
    meant = [model.data.lmdb_write._record(key, value) for key, value in content.items()]
    check_records(folder / DATA, 10, meant)
    with pytest.raises(CorruptInputError, match="10 records of 11"):
        check_records(folder / DATA, 11, meant)
    with pytest.raises(CorruptInputError, match="16-00009: missing"):
        check_records(folder / DATA, 10, [meant[0]._replace(key=b"16-00009")])
    for wrong in (meant[0]._replace(size=SIZE, pixels=1), meant[0]._replace(size=8)):
        with pytest.raises(CorruptInputError, match="16-00000: other pixels"):
            check_records(folder / DATA, 10, [wrong])


def test_the_stage_and_what_it_writes_with_import_no_torch() -> None:
    code = (
        "import sys; import stages.build_lmdb, model.data.lmdb_write, model.data.lmdb;"
        "sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, check=False).returncode == 0


def test_equal_pictures_have_equal_looks_and_blurred_ones_are_less_sharp() -> None:
    picture = pictures(1, 128)[0]
    blurred = np.asarray(Image.fromarray(picture).resize((16, 16)).resize((128, 128)))
    assert measure(picture) == measure(picture.copy())
    assert measure(np.full((32, 32, 3), 77, np.uint8)) == ((77.0,) * 3, (77.0**2,) * 3, 0.0)
    assert measure(blurred).sharpness < measure(picture).sharpness / 10
    whole = colour([measure(image) for image in (picture, blurred)])
    both = np.stack([picture, blurred]).reshape(-1, 3)
    assert whole.mean == pytest.approx(both.mean(0))
    assert whole.std == pytest.approx(both.std(0))
    assert quantiles([3, 1, 2, 5, 4]) == {"min": 1, "q25": 2, "median": 3, "q75": 4, "max": 5}


def test_sharpness_is_that_of_the_stage_crop() -> None:
    for image in (face(0, 64), face(1, 128), pictures(1, 64)[0]):
        assert measure(image).sharpness == pytest.approx(sharpness(image), rel=0.05)
