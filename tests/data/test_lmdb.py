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

from model.data.images import UInt8
from model.data.lmdb import LmdbImages, check_complete, key_of
from model.errors import CorruptInputError, MissingInputError
from model.files import MANIFEST, verify_manifest, write_manifest
from tests.data.packing import SIZE, pictures, write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "db", pictures())
    return tmp_path / "db"


def test_what_is_written_is_read_back_exactly(folder: Path) -> None:
    images = LmdbImages(folder, SIZE)
    assert len(images) == 8
    assert (images.read_all() == np.stack(pictures())).all()
    assert (images[5] == pictures()[5]).all()


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
