"""The LMDB folder: readable by the old code, whole or refused, never a killed process."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from model.data.images import UInt8, write_png
from model.data.lmdb import LmdbImages, check_complete, key_of, write_lmdb
from model.errors import CorruptInputError, MissingInputError, ResourceError, UsageError
from model.files import MANIFEST, sha256_file, verify_manifest, write_manifest

SIZE = 16
ROOT = Path(__file__).parents[2]


def pictures(count: int = 8, size: int = SIZE) -> list[UInt8]:
    return list(np.random.default_rng(3).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "db", pictures())
    return tmp_path / "db"


def write(out: Path, images: list[UInt8], codec: str = "png", **options: int) -> None:
    names = [f"{index}.png" for index in range(len(images))]
    write_lmdb(out, images, resolution=SIZE, codec=codec, names=names, **options)


def test_what_is_written_is_read_back_exactly(folder: Path) -> None:
    images = LmdbImages(folder, SIZE)
    assert len(images) == 8
    assert (images.read_all() == np.stack(pictures())).all()
    assert (images[5] == pictures()[5]).all()


def test_lossy_jpeg_is_close(tmp_path: Path) -> None:
    smooth = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in (10, 100, 200)]
    write(tmp_path / "db", smooth, "jpeg")
    assert np.abs(LmdbImages(tmp_path / "db", SIZE).read_all().astype(int) - np.stack(smooth)).max() <= 1


def test_the_old_code_reads_it(folder: Path) -> None:
    # As rosinality's MultiResolutionDataset does: its options, its key, its length.
    env = lmdb.open(str(folder), max_readers=32, readonly=True, lock=False, readahead=False, meminit=False)
    with env.begin(write=False) as transaction:
        length = int(transaction.get(b"length").decode("utf-8"))
        value = transaction.get(f"{SIZE}-{str(length - 1).zfill(5)}".encode())
    env.close()
    assert length == 8
    assert (np.asarray(Image.open(io.BytesIO(value))) == pictures()[7]).all()


def test_keys_grow_beyond_five_digits() -> None:
    assert (key_of(256, 17), key_of(64, 123_456)) == (b"256-00017", b"64-123456")


def test_files_of_any_size_and_shape_are_squared_and_resized(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((40, 64, 3), 9, np.uint8))
    write_lmdb(tmp_path / "db", [tmp_path / "a.png"], resolution=SIZE, codec="png", names=["a.png"])
    images = LmdbImages(tmp_path / "db", SIZE)
    assert (images[0] == np.full((SIZE, SIZE, 3), 9)).all()
    assert images.meta["sources"] == [{"name": "a.png", "sha256": sha256_file(tmp_path / "a.png")}]
    assert (images.meta["sizes"], images.meta["codec"], images.meta["resample"]) == ([SIZE], "png", "lanczos")


def test_writing_twice_gives_the_same_file(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "again", pictures())
    assert sha256_file(folder / "data.mdb") == sha256_file(tmp_path / "again" / "data.mdb")
    assert LmdbImages(folder, SIZE).digest == LmdbImages(tmp_path / "again", SIZE).digest


def test_the_map_grows_until_the_data_fits(tmp_path: Path) -> None:
    write(tmp_path / "db", pictures(600), map_size=64 * 1024)
    assert (tmp_path / "db" / "data.mdb").stat().st_size > 5 * 64 * 1024
    assert (LmdbImages(tmp_path / "db", SIZE).read_all() == np.stack(pictures(600))).all()


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise lmdb.DiskError("No space left on device")

    monkeypatch.setattr("model.data.lmdb._put", full)
    with pytest.raises(ResourceError, match="disk is full"):
        write(tmp_path / "db", pictures())
    assert list(tmp_path.iterdir()) == []


def test_a_broken_picture_stops_the_writing_and_leaves_the_old_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(CorruptInputError, match=r"bad\.png"):
        write_lmdb(folder, [tmp_path / "bad.png"], resolution=SIZE, codec="png", names=["bad.png"])
    assert len(LmdbImages(folder, SIZE)) == 8


def test_no_images_and_unknown_codecs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to write"):
        write(tmp_path / "db", [])
    with pytest.raises(UsageError, match="png, jpeg, webp"):
        write(tmp_path / "db", pictures(), "bmp")


def test_a_resolution_that_was_not_prepared_lists_those_that_were(folder: Path) -> None:
    with pytest.raises(MissingInputError, match=r"no images of 256 px \(prepared: 16 px\)"):
        LmdbImages(folder, 256)


def raw_lmdb(folder: Path, records: dict[bytes, bytes]) -> Path:
    folder.mkdir()
    env = lmdb.open(str(folder), map_size=1 << 22, lock=False)
    with env.begin(write=True) as transaction:
        for key, value in records.items():
            transaction.put(key, value)
    env.close()
    write_manifest(folder)
    return folder


def encoded(image: UInt8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


def test_a_foreign_file_with_several_sizes_is_read(tmp_path: Path) -> None:
    records = {key_of(size, i): encoded(pictures(2, size)[i]) for size in (8, 16, 128) for i in range(2)}
    folder = raw_lmdb(tmp_path / "old", {**records, b"length": b"2"})
    assert LmdbImages(folder, 128)[1].shape == (128, 128, 3)
    assert LmdbImages(folder, 8).meta == {}
    with pytest.raises(MissingInputError, match="prepared: 8 px, 16 px, 128 px"):
        LmdbImages(folder, 64)


@pytest.mark.parametrize(("records", "message"), [
    ({b"16-00000": b"x"}, "no record `length`"),
    ({b"length": b"many"}, "expected a count"),
    ({b"length": b"0"}, "expected a count"),
    ({b"length": b"2", b"16-00000": b"x"}, "no image 1 of 2"),
])  # fmt: skip
def test_an_unfinished_file_is_refused(tmp_path: Path, records: dict[bytes, bytes], message: str) -> None:
    with pytest.raises(CorruptInputError, match=message):
        LmdbImages(raw_lmdb(tmp_path / "old", records), 16)


def test_a_record_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    good = encoded(pictures()[0])
    folder = raw_lmdb(tmp_path / "old", {b"length": b"3", b"16-00000": good, b"16-00001": b"no", b"16-00002": good})
    images = LmdbImages(folder, 16)
    with pytest.raises(CorruptInputError, match=r"data\.mdb: record 16-00001"):
        images[1]
    with pytest.raises(IndexError):
        images[3]


def test_a_record_of_the_wrong_size_is_named(tmp_path: Path) -> None:
    folder = raw_lmdb(tmp_path / "old", {b"length": b"1", b"16-00000": encoded(pictures(1, 8)[0])})
    with pytest.raises(CorruptInputError, match="16-00000: 8 x 8 px"):
        LmdbImages(folder, 16)[0]


def test_missing_folder_manifest_and_file_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="nowhere: no such folder"):
        LmdbImages(tmp_path / "nowhere", SIZE)
    (folder / "data.mdb").rename(folder / "gone")
    with pytest.raises(CorruptInputError, match=r"data\.mdb: listed .* but missing"):
        LmdbImages(folder, SIZE)
    (folder / MANIFEST).unlink()
    with pytest.raises(MissingInputError, match="unfinished"):
        LmdbImages(folder, SIZE)


def test_every_flipped_byte_is_found(folder: Path) -> None:
    whole = (folder / "data.mdb").read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 80):
        broken = bytearray(whole)
        broken[at] ^= 1 << int(at) % 8
        (folder / "data.mdb").write_bytes(broken)
        with pytest.raises(CorruptInputError, match=r"data\.mdb"):
            LmdbImages(folder, SIZE)


READ_ALL = """
import sys; from pathlib import Path
from model.data.lmdb import LmdbImages; from model.errors import CorruptInputError
for folder in sys.argv[1:]:
    try:
        LmdbImages(Path(folder), 16).read_all(); sys.stdout.write("whole ")
    except CorruptInputError as error:
        sys.stdout.write("refused ")
"""


def test_no_truncation_kills_the_reader_even_under_a_matching_manifest(folder: Path, tmp_path: Path) -> None:
    # The manifest is written anew for each, as a copy tool that stopped half way could: LMDB's own header must tell.
    size = (folder / "data.mdb").stat().st_size
    cuts = sorted({0, 1, 15, 63, 100, 4095, 4096, 8191, 8192, size - 4096, size - 1, *range(0, size, size // 12)})
    for cut in cuts:
        damaged = tmp_path / f"cut{cut:07d}"
        shutil.copytree(folder, damaged)
        os.truncate(damaged / "data.mdb", cut)
        write_manifest(damaged)
    copies = [str(path) for path in sorted(tmp_path.glob("cut*"))]
    child = subprocess.run(
        [sys.executable, "-c", READ_ALL, *copies], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == ["refused"] * len(copies)


@pytest.mark.parametrize("content", [b"", b"x" * 50_000, b"\0" * 8192, struct.pack("<Q", 4096) * 4096])
def test_what_is_no_lmdb_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "data.mdb").write_bytes(content)
    with pytest.raises(CorruptInputError, match="not an LMDB file"):
        check_complete(folder / "data.mdb")


def test_two_readers_share_a_file_in_one_process(folder: Path) -> None:
    first, second = LmdbImages(folder, SIZE), LmdbImages(folder, SIZE)
    del first
    assert (second[0] == pictures()[0]).all()


def test_a_folder_replaced_in_the_same_process_is_read_anew(folder: Path) -> None:
    old = LmdbImages(folder, SIZE)
    write(folder, pictures(9)[1:])
    assert (LmdbImages(folder, SIZE)[0] == pictures(9)[1]).all()
    assert (old[0] == pictures()[0]).all()


def test_a_reader_can_be_sent_to_another_process(folder: Path) -> None:
    twin = copy.copy(LmdbImages(folder, SIZE))  # by the same protocol as pickling
    assert twin.__getstate__()["_handle"] is None
    assert (twin[2] == pictures()[2]).all()


def test_a_reader_works_in_a_forked_process(folder: Path) -> None:
    images = LmdbImages(folder, SIZE)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if (images[3] == pictures()[3]).all() and len(LmdbImages(folder, SIZE)) == 8 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert (images[4] == pictures()[4]).all()


def test_a_read_only_folder_is_read(folder: Path) -> None:
    (folder / "data.mdb").chmod(0o444)
    folder.chmod(0o555)
    try:
        assert len(LmdbImages(folder, SIZE)) == 8
        assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "data.mdb"]
    finally:
        folder.chmod(0o755)


def test_the_manifest_covers_the_data(folder: Path) -> None:
    manifest = verify_manifest(folder)
    assert list(manifest["files"]) == ["data.mdb"]
    assert json.loads((folder / MANIFEST).read_text())["length"] == 8
