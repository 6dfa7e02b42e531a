"""Kill the command of the stage crawl at random instants, over every local kind of source that has a reader of its own.

    python -m tests.sources.crawlkill --kills 100 --seed 0

After every kill the output is the old one, the new one, or (between two renames) not there; the run that is left alone
afterwards gives the same bytes as one that nobody has killed, and leaves nothing beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from model.data.images import encode_image, write_png
from model.data.lmdb_write import Packing, write_lmdb
from model.files import verify_manifest
from tests.sources.films import WHOLE, make
from tests.stages.world import Bench

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("folder", "zip", "video", "lmdb")
PICTURES = 60


def picture(value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(value).integers(0, 256, (48, 48, 3), np.uint8)


def prepare(bench: Bench, count: int) -> None:
    """Make inputs of ``count`` pictures per kind."""
    home = bench.home
    for kind in KINDS:
        shutil.rmtree(home / "in" / kind, ignore_errors=True)
    for number in range(count):
        write_png(home / "in" / "folder" / f"{number}.png", picture(number))
    with zipfile.ZipFile(home / "in" / "a.zip", "w") as packed:
        for number in range(count):
            packed.writestr(f"{number}.png", encode_image(picture(number), "png"))
    make(home / "in" / "video", "h264_b.mp4", count)
    (home / "in" / "video" / "clips.csv").write_text(
        f"video,start_frame,end_frame,x,y,w,h\nh264_b.mp4,0,{count - 1},{WHOLE}\n"
    )
    images = [picture(number) for number in range(count)]
    write_lmdb(home / "in" / "lmdb", images, [str(n) for n in range(count)], Packing([48], "png", workers=1))
    bench.folder_dataset("folder", home / "in" / "folder")
    bench.dataset("zip", "zip", home / "in" / "a.zip", group_by="file", max_gb=1.0)
    bench.dataset("video", "video", home / "in" / "video")
    bench.dataset("lmdb", "lmdb", home / "in" / "lmdb", size=48)
    assert bench.params.is_file()  # reading the property writes the file


def start(home: Path, kind: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "stages.crawl", "--params", str(home / "params.yaml"), "--dataset", kind]
    command += ["--scratch", str(home / "scratch" / kind), "--out", str(home / "raw" / kind)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CARTOON_TRACKING": "journal"}
    with (home / "log.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log, start_new_session=True)


def finish(home: Path, kind: str) -> tuple[dict[str, object], float]:
    """Crawl undisturbed; return the files with their hashes, and the seconds it took."""
    begun = time.monotonic()
    process = start(home, kind)
    if process.wait():
        raise RuntimeError(f"{kind}: {(home / 'log.txt').read_text()[-3000:]}")
    return verify_manifest(home / "raw" / kind)["files"], time.monotonic() - begun


def kill(home: Path, kind: str, seconds: float, alone: bool) -> bool:
    """Kill a crawl after some time; False if it had ended. ``alone`` spares its reader, which must end by itself."""
    process = start(home, kind)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        until = time.monotonic() + 30
        while session(process.pid):
            if time.monotonic() > until:
                raise RuntimeError(f"{kind}: a reader outlived its crawl: {session(process.pid)}") from None
            time.sleep(0.01)
        return True
    return False


def session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def rounds(home: Path, kills: int, seed: int) -> dict[str, dict[str, int]]:
    """Kill ``kills`` crawls of every kind; RuntimeError if an output is neither old, new nor absent."""
    draw = random.Random(seed)
    bench = Bench(home)
    prepare(bench, PICTURES // 2)
    old = {kind: finish(home, kind)[0] for kind in KINDS}
    prepare(bench, PICTURES)
    tallies = {}
    for kind in KINDS:
        kept = home / "kept"
        shutil.copytree(home / "raw" / kind, kept)
        new, seconds = finish(home, kind)
        tally = tallies[kind] = Counter(kills=0, old=0, new=0, absent=0)
        while tally["kills"] < kills:
            shutil.rmtree(home / "raw" / kind, ignore_errors=True)
            shutil.copytree(kept, home / "raw" / kind)
            if not kill(home, kind, draw.uniform(0.0, 1.1) * seconds, alone=draw.random() < 0.3):
                continue
            tally["kills"] += 1
            out = home / "raw" / kind
            found = verify_manifest(out)["files"] if out.exists() else None
            if found not in (None, old[kind], new):
                raise RuntimeError(f"{kind}: kill {tally['kills']}: the output is neither the old nor the new one")
            tally["absent" if found is None else "old" if found == old[kind] else "new"] += 1
            if finish(home, kind)[0] != new or [path for path in out.parent.glob(".*") if path.suffix != ".lock"]:
                raise RuntimeError(f"{kind}: kill {tally['kills']}: the next run gives other bytes or leaves litter")
        shutil.rmtree(kept)
    return {kind: dict(tally) for kind, tally in tallies.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, required=True, help="kills per kind of source")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.write(json.dumps(rounds(Path(name), arguments.kills, arguments.seed)) + "\n")


if __name__ == "__main__":
    main()
