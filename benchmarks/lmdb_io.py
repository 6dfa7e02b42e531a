"""LMDB against a folder of PNG files and against the memory-mapped cache: writing, random reading, reading once.

    python -m benchmarks.lmdb_io --images 500 --resolution 256 --json OUT.json

"Cold" is after the kernel was asked to drop the file's pages (posix_fadvise); the disk may still have them.

(Not called lmdb.py: Python would import it for the package of that name.)
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.train_step import environment
from model.data.cache import IMAGES, MappedImages, map_lmdb
from model.data.dataset import ArrayImages
from model.data.images import UInt8, from_uint8, read_image, write_png
from model.data.lmdb import LmdbImages
from model.data.lmdb_write import Packing, write_lmdb

BATCH = 16


def pictures(count: int, resolution: int) -> list[UInt8]:
    """Pictures that compress like drawings: flat regions with sharp edges, a gradient and a little grain."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:resolution, 0:resolution] / resolution
    out = []
    for _ in range(count):
        image = np.stack([y * 60 + random.uniform(60, 160) for _ in range(3)], 2)
        for _ in range(12):
            cx, cy, radius = [*random.uniform(0, 1, 2).tolist(), random.uniform(0.05, 0.3)]
            image[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = random.uniform(0, 255, 3)
        out.append((image + random.normal(0, 1.0, image.shape)).clip(0, 255).astype(np.uint8))
    return out


def timed(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - cpu}


def measure(images: list[UInt8], root: Path) -> dict[str, dict[str, float]]:
    """Write and read ``images`` both ways under ``root``; seconds by what was done."""
    count, resolution = len(images), len(images[0])
    order = np.random.default_rng(1).permutation(count).tolist()
    folder, packed = root / "png", root / "lmdb"
    folder.mkdir()
    files = [folder / f"{index:05d}.png" for index in range(count)]
    names = [file.name for file in files]
    rows = {
        "PNG folder: write, each file durable": timed(
            lambda: [write_png(*pair) for pair in zip(files, images, strict=True)]
        ),
        "LMDB, png: write (resize, hash, durable)": timed(
            lambda: write_lmdb(packed, images, names, Packing([resolution], "png", workers=1))
        ),
        "PNG folder: read in random order": timed(lambda: [read_image(files[index]) for index in order]),
    }
    reader = LmdbImages(packed, resolution)
    rows["LMDB: read in random order"] = timed(lambda: [reader[index] for index in order])
    batches = [order[start : start + BATCH] for start in range(0, count, BATCH)]
    rows["LMDB: batches of 16 as floats"] = timed(lambda: [read_batch(reader, batch) for batch in batches])
    return rows | measure_cache(reader, root / "cache", batches, np.stack(images))


def read_batch(reader: LmdbImages, indices: list[int]) -> object:
    return from_uint8(np.stack([reader[index] for index in indices]))


def measure_cache(
    reader: LmdbImages, root: Path, batches: list[list[int]], expected: UInt8
) -> dict[str, dict[str, float]]:
    """Make the memory-mapped cache of ``reader`` under ``root`` and read ``batches`` from it; seconds."""
    rows = {"cache: make (decode, hash, durable), once per dataset": timed(lambda: map_lmdb(reader, root))}
    mapped = map_lmdb(reader, root)
    assert np.array_equal(mapped.images, expected), "the LMDB or its cache is not lossless"
    folder = mapped.folder
    del mapped  # pages that are mapped cannot be dropped
    rows["cache: open (hash everything, map), once per training"] = timed(lambda: MappedImages(folder))
    for form, use in (("uint8", ArrayImages.raw), ("floats", ArrayImages.batch)):
        for state in ("cold", "warm"):
            if state == "cold":
                drop_pages(folder / IMAGES)
            images = ArrayImages(np.load(folder / IMAGES, mmap_mode="r"))
            rows[f"cache: batches of 16 as {form}, {state}"] = timed(partial(gather, use, images, batches))
            del images
    return rows


def gather(use: Callable[[ArrayImages, Sequence[int]], Tensor], images: ArrayImages, batches: list[list[int]]) -> None:
    for batch in batches:
        use(images, batch)


def drop_pages(file: Path) -> None:
    """Ask the kernel to forget what it has read of a file."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    count = arguments.images
    with tempfile.TemporaryDirectory() as name:
        rows = measure(pictures(count, arguments.resolution), Path(name))
        sizes = {
            "PNG folder": sum(file.stat().st_size for file in Path(name, "png").iterdir()),
            "LMDB": Path(name, "lmdb", "data.mdb").stat().st_size,
            "cache": count * arguments.resolution**2 * 3,
        }
    print(f"{count} images of {arguments.resolution} px, one process; bytes: {sizes}\n")
    print("| | images/s (wall) | images/s (processor) |\n|---|---|---|")
    for title, row in rows.items():
        print(f"| {title} | {count / row['wall_s']:.0f} | {count / max(row['processor_s'], 1e-9):.0f} |")
    decoding = rows["LMDB: batches of 16 as floats"]
    for state in ("cold", "warm"):
        row = rows[f"cache: batches of 16 as floats, {state}"]
        wall, processor = (decoding[unit] / max(row[unit], 1e-9) for unit in ("wall_s", "processor_s"))
        print(
            f"\nThe cache ({state}) over decoding the LMDB, the same floats: x{wall:.0f} (wall), "
            f"x{processor:.0f} (processor)"
        )
    if arguments.json:
        result = environment() | {"images": count, "resolution": arguments.resolution, "bytes": sizes, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
