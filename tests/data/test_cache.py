"""The memory-mapped cache: the LMDB's pixels, made once, checked before use, made again when damaged."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from model.data import cache as module
from model.data.cache import IMAGES, MappedImages, map_lmdb
from model.data.dataset import ArrayImages, to_network
from model.data.images import UInt8, from_uint8
from model.data.lmdb import LmdbImages
from model.data.lmdb_write import Packing, write_lmdb
from model.errors import CorruptInputError, MissingInputError, ResourceError
from model.files import MANIFEST, verify_manifest

SIZE = 16
ROOT = Path(__file__).parents[2]


def pictures(seed: int = 3) -> list[UInt8]:
    return list(np.random.default_rng(seed).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8))


def opened(folder: Path, seed: int = 3) -> LmdbImages:
    write_lmdb(folder, pictures(seed), [f"{i}.png" for i in range(8)], Packing([SIZE], "png", workers=1))
    return LmdbImages(folder, SIZE)


@pytest.fixture
def source(tmp_path: Path) -> LmdbImages:
    return opened(tmp_path / "db")


def test_batches_are_those_of_the_decoded_lmdb_bit_for_bit(source: LmdbImages, tmp_path: Path) -> None:
    mapped, decoded = map_lmdb(source, tmp_path / "cache"), source.read_all()
    picked = [5, 0, 7, 5]
    assert len(mapped) == 8
    assert torch.equal(mapped.batch(picked), from_uint8(decoded[picked]))
    assert torch.equal(mapped.batch(picked), ArrayImages(decoded).batch(picked))
    assert mapped.batch(picked).is_contiguous()
    assert np.array_equal(mapped.raw(picked).numpy(), decoded[picked])


def test_every_byte_value_becomes_the_float_that_the_other_readers_give() -> None:
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert torch.equal(to_network(torch.from_numpy(ramp)), from_uint8(ramp))


def test_the_images_are_mapped_read_only_and_not_loaded(source: LmdbImages, tmp_path: Path) -> None:
    mapped = map_lmdb(source, tmp_path / "cache")
    assert isinstance(mapped.images.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        mapped.images[0] = 0
    mapped.raw([0])[:] = 0  # a copy
    assert np.array_equal(mapped.images[0], pictures()[0])


def test_an_index_outside_names_the_file_and_the_count(source: LmdbImages, tmp_path: Path) -> None:
    mapped = map_lmdb(source, tmp_path / "cache")
    for index in (8, -1):
        with pytest.raises(IndexError, match=rf"{IMAGES}: image {index} of 8"):
            mapped.batch([0, index])


def test_the_second_use_decodes_nothing(source: LmdbImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_lmdb(source, tmp_path / "cache")
    monkeypatch.setattr(LmdbImages, "__getitem__", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(map_lmdb(source, tmp_path / "cache").raw([2])[0], torch.from_numpy(pictures()[2]))


def truncate(folder: Path) -> None:
    os.truncate(folder / IMAGES, 1000)


def flip(folder: Path) -> None:
    content = bytearray((folder / IMAGES).read_bytes())
    content[-7] ^= 1
    (folder / IMAGES).write_bytes(content)


def lose_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def garble_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:-40])


@pytest.mark.parametrize("damage", [truncate, flip, lose_manifest, garble_manifest])
def test_a_damaged_cache_is_never_used_but_made_again_with_one_line(
    source: LmdbImages, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    folder = map_lmdb(source, tmp_path / "cache").folder
    damage(folder)  # type: ignore[operator]
    with pytest.raises((CorruptInputError, MissingInputError)):
        MappedImages(folder)
    with caplog.at_level(logging.WARNING):
        again = map_lmdb(source, tmp_path / "cache")
    assert [record.message.count("decoding the images again") for record in caplog.records] == [1]
    assert np.array_equal(again.images, np.stack(pictures()))


def test_another_lmdb_gets_another_cache_and_the_one_of_its_older_self_goes(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first, other = map_lmdb(opened(tmp_path / "db"), cache), map_lmdb(opened(tmp_path / "other", 4), cache)
    newer = map_lmdb(opened(tmp_path / "db", 5), cache)
    assert len({first.folder, other.folder, newer.folder}) == 3
    assert sorted(cache.glob("[!.]*")) == sorted([other.folder, newer.folder])
    assert np.array_equal(newer.images, np.stack(pictures(5)))
    assert np.array_equal(first.images, np.stack(pictures()))  # who has it mapped keeps it


def test_a_full_disk_is_named_before_anything_is_written_and_while_writing(
    source: LmdbImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda _: usage(100, 100, 5 << 20))
        with pytest.raises(ResourceError, match=r"the disk is full: 64 MiB needed; free space .* \(5 MiB are free\)"):
            map_lmdb(source, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError, match="No space left"):
            map_lmdb(source, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("[!.]*")) == []
    assert len(map_lmdb(source, tmp_path / "cache")) == 8


CHILD = """
import sys, time
from pathlib import Path
from model.data.cache import map_lmdb
from model.data.lmdb import LmdbImages
decode, begun = LmdbImages.__getitem__, Path(sys.argv[2]) / f"decodes-{sys.argv[3]}"
def slowly(self, index):
    begun.touch()
    time.sleep(float(sys.argv[4]))
    return decode(self, index)
LmdbImages.__getitem__ = slowly
mapped = map_lmdb(LmdbImages(Path(sys.argv[1]), 16), Path(sys.argv[2]) / "cache")
sys.stdout.write(str(int(mapped.raw(range(8)).sum())))
"""


def child(source: LmdbImages, folder: Path, name: str, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(source.path), str(folder), name, str(seconds)],
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_of_processes_that_start_together_one_decodes_and_all_get_the_images(
    source: LmdbImages, tmp_path: Path
) -> None:
    processes = [child(source, tmp_path, name, 0.05) for name in "abc"]
    sums = [process.communicate(timeout=120)[0] for process in processes]
    assert sums == [str(int(np.stack(pictures()).sum(dtype=np.int64)))] * 3
    assert len(list(tmp_path.glob("decodes-*"))) == 1


@pytest.mark.slow
def test_a_process_killed_while_decoding_leaves_nothing_that_is_used_or_stays(
    source: LmdbImages, tmp_path: Path
) -> None:
    process = child(source, tmp_path, "a", 5.0)
    deadline = time.monotonic() + 120
    while not (tmp_path / "decodes-a").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert len(list((tmp_path / "cache").glob(".*.tmp"))) == 1
    mapped = map_lmdb(source, tmp_path / "cache")  # its lock died with it
    verify_manifest(mapped.folder)
    assert [p for p in (tmp_path / "cache").iterdir() if p.is_dir()] == [mapped.folder]
    shutil.rmtree(tmp_path / "cache")
    assert np.array_equal(mapped.images, np.stack(pictures()))
