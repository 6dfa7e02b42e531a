"""Pages per minute of the stage crop, and how much memory its processes take.

python -m benchmarks.crop_rate --pages 100 --workers 2               # drawn comic pages, as in the demo
python -m benchmarks.crop_rate --folder DIR --workers 2 --detector lbpcascade_animeface.xml
python -m benchmarks.crop_rate --pages 10000 --tiny --workers 2      # pictures of 96 px: does memory stay flat?
python -m benchmarks.crop_rate --pages 10000 --tiny --whole --workers 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from model.data.images import write_png
from pipeline.params import read_params
from tests.stages.world import Bench, face

ROOT = Path(__file__).resolve().parents[1]
EVERY = 0.1  # s, between looks at the memory


class Memory(threading.Thread):
    """Looks at the processes of a session: the most each ever had, the most that all had together."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.highest: dict[int, int] = {}  # process -> kB
        self.together = 0
        self.over_time: list[int] = []  # MB of all, one per look
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(EVERY):
            now = 0
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) != self.session:
                        continue
                    said = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
                    self.highest[int(folder.name)] = int(said["VmHWM"].split()[0])
                    pss = (folder / "smaps_rollup").read_text().partition("Pss:")[2]
                    now += int(pss.split()[0])  # shared pages are divided among those that share them
                except (OSError, KeyError, ValueError, IndexError):  # it has just ended
                    continue
            self.together = max(self.together, now)
            self.over_time.append(round(now / 1024))


def make_input(bench: Bench, arguments: argparse.Namespace) -> None:
    if arguments.folder:
        bench.folder_dataset("rate", arguments.folder)
    elif arguments.tiny:
        for index in range(arguments.pages):
            image = face(index % 50, 96).copy()
            image[:2, :2] = index % 251, index // 251, 0  # no two files are equal
            write_png(bench.home / "in" / f"{index:06d}.png", image)
        bench.folder_dataset("rate", bench.home / "in")
    else:
        where = {"style": "flat", "pages": arguments.pages, "seed": 101}
        entry = {"source": "synthetic", "where": "model/data/synthetic", "license": "CC0-1.0", **where}
        (bench.home / "none.txt").touch()
        bench.values["datasets"]["rate"] = {**entry, "face": "photo", "exclude": str(bench.home / "none.txt")}
    bench.values["datasets"]["rate"]["face"] = "none" if arguments.whole else "photo"


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.detector:
        paper = read_params(ROOT / "profiles" / "paper" / "params.yaml")["crop"]
        kind = paper["faces"]["anime"]
        kind = {**kind, "detector": {**kind["detector"], "file": str(arguments.detector)}}
        resolution = paper["resolution"]
    else:
        demo = read_params(ROOT / "params.yaml")["crop"]
        kind, resolution = demo["faces"]["drawn"], demo["resolution"]
    return {"resolution": resolution, "workers": arguments.workers, "max_bad_fraction": 0.02, "faces": {"photo": kind}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="pictures of your own instead")
    parser.add_argument("--detector", type=Path, help="a cascade for drawn faces, with the paper profile's settings")
    parser.add_argument("--tiny", action="store_true", help="single faces of 96 px instead of pages")
    parser.add_argument("--whole", action="store_true", help="take pictures as they are: face none")
    parser.add_argument("--workers", type=int, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name).resolve())
        bench.values["crop"] = settings(arguments)
        make_input(bench, arguments)
        raw = bench.crawl("rate")
        out = bench.home / "out"
        flags = ["--params", bench.params, "--dataset", "rate", "--raw", raw, "--out", out]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CARTOON_TRACKING": "journal", "OMP_NUM_THREADS": "1"}
        begun = time.monotonic()
        stage = subprocess.Popen(
            [sys.executable, "-m", "stages.crop", *map(str, flags)],
            cwd=bench.home, env=environment, start_new_session=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        memory = Memory(stage.pid)
        memory.start()
        code = stage.wait()
        seconds = time.monotonic() - begun
        memory.ended.set()
        memory.join()
        if code:
            raise SystemExit(f"the stage ended with {code}")
        counts = json.loads((out / "report.json").read_text())["counts"]
        others = [size for process, size in memory.highest.items() if process != stage.pid]
        quarter = max(len(memory.over_time) // 4, 1)
        figures = {
            "workers": arguments.workers,
            "pages": counts["pages"],
            "kept": counts["kept"],
            "seconds": round(seconds, 1),
            "pages_per_minute": round(counts["pages"] / seconds * 60),
            "first_process_MB": round(memory.highest[stage.pid] / 1024),
            "largest_other_MB": round(max(others) / 1024),
            "together_MB": round(memory.together / 1024),
            "together_MB_by_quarter": [max(memory.over_time[i * quarter : (i + 1) * quarter]) for i in range(4)],
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
