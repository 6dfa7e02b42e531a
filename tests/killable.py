"""Stages with tiny inputs, for ``tests.stagekill`` to kill."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.images import UInt8, encode_image
from model.data.lmdb_write import Packing, write_lmdb
from stages.build_lmdb import build_lmdb
from stages.crawl import crawl
from stages.crop import crop
from tests.sources.films import WHOLE, make
from tests.stages.world import Bench, faces_on_paper

PAGES, PICTURES = 24, 60


@dataclass(frozen=True)
class Stage:
    """A stage with tiny inputs; every function gets the folder that all happens in."""

    function: Callable[..., object]  # of stages/
    prepare: Callable[[Path], object]  # make the inputs, once
    flags: Callable[[Path], dict[str, Path | str]]  # of the command
    outs: Callable[[Path], list[Path]]  # folders with a manifest


def prepare_pages(home: Path) -> Bench:
    bench = Bench(home)
    bench.folder_dataset("tiny", faces_on_paper(home / "own", PAGES))
    return written(bench)


def prepare_raw(home: Path) -> Bench:
    bench = prepare_pages(home)
    bench.crawl("tiny")
    return bench


def prepare_crops(home: Path) -> Bench:
    bench = prepare_raw(home)
    bench.crop("tiny")
    return bench


def prepare_archive(home: Path) -> Bench:
    with zipfile.ZipFile(home / "a.zip", "w") as packed:
        for number in range(PICTURES):
            packed.writestr(f"{number}.png", encode_image(picture(number), "png"))
    bench = Bench(home)
    bench.dataset("tiny", "zip", home / "a.zip", group_by="file", max_gb=1.0)
    return written(bench)


def prepare_film(home: Path) -> Bench:
    make(home / "own", "h264_b.mp4", PICTURES)
    clip = f"h264_b.mp4,0,{PICTURES - 1},{WHOLE}"
    (home / "own" / "clips.csv").write_text(f"video,start_frame,end_frame,x,y,w,h\n{clip}\n")
    bench = Bench(home)
    bench.dataset("tiny", "video", home / "own")
    return written(bench)


def prepare_lmdb(home: Path) -> Bench:
    images, names = [picture(number) for number in range(PICTURES)], [str(number) for number in range(PICTURES)]
    write_lmdb(home / "own", images, names, Packing([48], "png", workers=1))
    bench = Bench(home)
    bench.dataset("tiny", "lmdb", home / "own", size=48)
    return written(bench)


def written(bench: Bench) -> Bench:
    assert bench.params.is_file()  # reading the property writes the file
    return bench


def picture(value: int) -> UInt8:
    return np.random.default_rng(value).integers(0, 256, (48, 48, 3), np.uint8)


def crawl_of(prepare: Callable[[Path], object]) -> Stage:
    return Stage(
        crawl,
        prepare,
        lambda home: {
            "params": home / "params.yaml", "dataset": "tiny", "scratch": home / "scratch",
            "out": home / "work" / "raw",
        },
        lambda home: [home / "work" / "raw"],
    )  # fmt: skip


STAGES = {
    "crawl": crawl_of(prepare_pages),  # of a folder
    "crawl-zip": crawl_of(prepare_archive),
    "crawl-video": crawl_of(prepare_film),  # films and LMDBs are read by a process of their own
    "crawl-lmdb": crawl_of(prepare_lmdb),
    "crop": Stage(
        crop,
        prepare_raw,
        lambda home: {
            "params": home / "params.yaml", "dataset": "tiny", "raw": home / "raw" / "tiny",
            "out": home / "work" / "faces",
        },
        lambda home: [home / "work" / "faces"],
    ),
    "lmdb": Stage(
        build_lmdb,
        prepare_crops,
        lambda home: {
            "params": home / "params.yaml", "raw": home / "raw" / "tiny", "crops": home / "faces" / "tiny",
            "out": home / "work" / "lmdb", "card": home / "work" / "card",
        },
        lambda home: [home / "work" / "lmdb", home / "work" / "card"],
    ),
}  # fmt: skip
