"""Pictures to an LMDB, from the command to the finished file: ours against a preparer as textbooks write it.

    python -m benchmarks.prepare --images 500 --repeats 5 --json OUT.json    # rate, both in turns
    python -m benchmarks.prepare --images 10000 --memory --json OUT.json     # memory of ours, all processes together

Both get the same files (half PNG, half JPEG; photographs, flat drawings and drawings with grain, 512 px) and write the
same keys with the same codec. Ours also hashes every picture and record, decodes what it has written in other processes
and compares it, syncs the file and writes a manifest; the textbook does none of this.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.train_step import environment
from model.data.images import UInt8, encode_image
from model.data.synthetic.attributes import sample_attributes
from model.data.synthetic.render import render

SOURCE_PX, SIZE = 512, 256
PR_SET_CHILD_SUBREAPER = 36

# One process, one image and one transaction after the other, with the imports such scripts have.
TEXTBOOK = """
import io, sys
import lmdb, torch
from torchvision import datasets
from torchvision.transforms import InterpolationMode, functional

source, out, size, codec = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
files = sorted(datasets.ImageFolder(source).imgs)
with lmdb.open(out, map_size=1024**4, readahead=False) as env:
    for index, (path, _) in enumerate(files):
        image = datasets.folder.pil_loader(path)
        image = functional.resize(image, size, InterpolationMode.LANCZOS)
        image = functional.center_crop(image, size)
        buffer = io.BytesIO()
        image.save(buffer, format=codec, **({"quality": 100} if codec == "jpeg" else {}))
        with env.begin(write=True) as transaction:
            transaction.put(f"{size}-{str(index).zfill(5)}".encode(), buffer.getvalue())
    with env.begin(write=True) as transaction:
        transaction.put(b"length", str(len(files)).encode())
"""

OURS = """
import sys
from pathlib import Path
from model.data.lmdb_write import Packing, write_lmdb
from model.data.workers import count_workers

source, out, size, codec = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
files = sorted(path for path in Path(source).rglob("*") if path.is_file())
write_lmdb(Path(out), files, [file.name for file in files], Packing([size], codec, count_workers("auto", "workers")))
"""


def picture(index: int) -> UInt8:
    """A photograph, a flat drawing, or the same with grain, in turns; few different ones, which costs no preparer."""
    style = ("photo", "flat", "ink")[index % 3]
    image = render(sample_attributes(0, index % 60), style, SOURCE_PX)
    if index % 4 == 3:
        grain = np.random.default_rng(index).normal(0, 2.0, image.shape)
        image = (image + grain).clip(0, 255).astype(np.uint8)
    return image


def make_pictures(folder: Path, count: int) -> None:
    """Write ``count`` files below one folder of ``folder``, as ImageFolder wants them."""
    made: dict[int, tuple[bytes, str]] = {}
    (folder / "all").mkdir(parents=True)
    for index in range(count):
        kind = index % 240
        if kind not in made:
            codec = ("png", "jpeg")[kind // 2 % 2]
            made[kind] = encode_image(picture(kind), codec), codec
        content, codec = made[kind]
        (folder / "all" / f"{index:06d}.{codec}").write_bytes(content)


def adopt() -> None:
    """Become the parent of processes whose parent ends before them, so that their time is counted too."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("prctl: processor time of all processes needs Linux")


def wait_for_all() -> None:
    with suppress(ChildProcessError):
        while True:
            os.wait()


def timed(code: str, source: Path, codec: str) -> dict[str, float]:
    """Run a preparer as a command of its own; seconds of clock and of processors, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        begun = time.perf_counter()
        command = [sys.executable, "-c", code, str(source), f"{out}/lmdb", str(SIZE), codec]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        seconds = time.perf_counter() - begun
        wait_for_all()
        size = Path(out, "lmdb", "data.mdb").stat().st_size
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": seconds, "processor_s": used, "bytes": size}


def compare(source: Path, count: int, codec: str, repeats: int) -> dict[str, Any]:
    """Time both in turns, each pair in the other order."""
    pairs = []
    for repeat in range(repeats):
        order = [("textbook", TEXTBOOK), ("ours", OURS)][:: 1 if repeat % 2 else -1]
        pairs.append({name: timed(code, source, codec) for name, code in order})
    ratios = sorted(pair["textbook"]["wall_s"] / pair["ours"]["wall_s"] for pair in pairs)
    spent = sorted(pair["textbook"]["processor_s"] / pair["ours"]["processor_s"] for pair in pairs)
    rows = {
        name: {
            "images_per_s": [round(count / pair[name]["wall_s"], 1) for pair in pairs],
            "wall_s": [round(pair[name]["wall_s"], 2) for pair in pairs],
            "processor_s": [round(pair[name]["processor_s"], 2) for pair in pairs],
            "mib": round(pairs[0][name]["bytes"] / 2**20, 1),
        }
        for name in ("textbook", "ours")
    }
    return {"codec": codec, "ratios": ratios, "processor_ratios": spent, **rows}


def memory(source: Path, codec: str) -> dict[str, float]:
    """Run ours and watch its processes: the most resident memory of all together, in MiB."""
    most = {"rss": 0.0, "pss": 0.0}
    middle: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", OURS, str(source), f"{out}/lmdb", str(SIZE), codec]
        with subprocess.Popen(command, start_new_session=True) as process:
            while process.poll() is None:
                now = resident(process.pid)
                most = {key: max(most[key], now[key]) for key in most}
                middle.append(now["pss"])
                time.sleep(0.1)
        if process.returncode:
            raise RuntimeError(f"ours ended with {process.returncode}")
        mapped = Path(out, "lmdb", "data.mdb").stat().st_size / 2**20
    quarter = len(middle) // 4
    return most | {
        "pss_in_second_quarter": statistics.median(middle[quarter : 2 * quarter]),
        "pss_in_last_quarter": statistics.median(middle[3 * quarter :]), "file": mapped,
    }  # fmt: skip


def resident(session: int) -> dict[str, float]:
    """Memory of a session's processes, MiB: ``rss`` counts pages that they share in each of them, ``pss`` once."""
    total = {"rss": 0.0, "pss": 0.0}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) != session:
                continue
            lines = (stat.parent / "smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue  # it has just ended
        found = dict(line.split(":", 1) for line in lines)
        for key in total:
            total[key] += int(found.get(key.capitalize(), "0 kB").split()[0]) / 1024
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--codec", choices=("png", "jpeg"), action="append", help="default: both")
    parser.add_argument("--memory", action="store_true", help="watch the memory of ours instead of the time of both")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    adopt()
    result: dict[str, Any] = environment() | {"images": arguments.images, "source_px": SOURCE_PX, "size": SIZE}
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "pictures")
        make_pictures(source, arguments.images)
        for codec in arguments.codec or ["jpeg", "png"]:
            if arguments.memory:
                result[codec] = memory(source, codec)
                print(codec, {key: round(value, 1) for key, value in result[codec].items()})
                continue
            found = result[codec] = compare(source, arguments.images, codec, arguments.repeats)
            for kind in ("ratios", "processor_ratios"):
                low, middle, high = found[kind][0], statistics.median(found[kind]), found[kind][-1]
                print(f"{codec}, {kind}: x{middle:.2f} (x{low:.2f} to x{high:.2f})")
            for who in ("textbook", "ours"):
                print(f"  {who}: {found[who]}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
