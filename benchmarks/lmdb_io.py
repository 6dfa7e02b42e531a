"""LMDB against a folder of PNG files: writing, random reading, and reading everything once.

    python -m benchmarks.lmdb_io --images 500 --resolution 256 --json OUT.json

(Not called lmdb.py: Python would import it for the package of that name.)
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.train_step import environment
from model.data.images import UInt8, read_image, write_png
from model.data.lmdb import LmdbImages, write_lmdb


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
            lambda: write_lmdb(packed, images, resolution=resolution, codec="png", names=names)
        ),
        "PNG folder: read in random order": timed(lambda: [read_image(files[index]) for index in order]),
    }
    reader, loaded = LmdbImages(packed, resolution), []
    rows["LMDB: read in random order"] = timed(lambda: [reader[index] for index in order])
    rows["LMDB: read_all, once, to uint8 in memory"] = timed(lambda: loaded.append(reader.read_all()))
    rows["memory: gather batches of 16 in random order"] = timed(
        lambda: [loaded[0][order[start : start + 16]] for start in range(0, count, 16)]
    )
    assert np.array_equal(loaded[0], np.stack(images)), "the LMDB is not lossless"
    return rows


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
        }
    print(f"{count} images of {arguments.resolution} px, one process; bytes: {sizes}\n")
    print("| | images/s (wall) | images/s (processor) |\n|---|---|---|")
    for title, row in rows.items():
        print(f"| {title} | {count / row['wall_s']:.0f} | {count / max(row['processor_s'], 1e-9):.0f} |")
    if arguments.json:
        result = environment() | {"images": count, "resolution": arguments.resolution, "bytes": sizes, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
