"""Kill the crawl of a webtoon title again and again; it must end with what an undisturbed crawl gives.

    python -m tests.web.killcrawl --kills 100 --seed 0

Every start is a process of its own, as DVC starts it. It gets SIGKILL at a random instant of its life; then the same
command runs again. When a crawl has come to its end, its result is compared and the next one begins from nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from model.errors import CorruptInputError, MissingInputError
from model.files import verify_manifest
from tests.stages.world import WEB, Bench
from tests.web.webtoon_site import FakeWebtoon, fake_webtoon

ROOT = Path(__file__).resolve().parents[2]
TITLE, EPISODES, SLICES = "en/95", 12, 4


@dataclass
class Tally:
    """What came of it."""

    kills: int = 0
    crawls: int = 0  # that came to their end
    hit: dict[str, int] = field(default_factory=dict)  # what there was at the instant of a kill
    different: list[str] = field(default_factory=list)  # ends with other bytes than the undisturbed one
    half: list[str] = field(default_factory=list)  # kills after which a published folder or manifest was not whole
    most_pictures_asked: int = 0  # of one crawl; an undisturbed one asks for each once
    strays: list[str] = field(default_factory=list)  # temporary files left when a crawl had ended


class Crawl:
    """One dataset in one folder."""

    def __init__(self, home: Path, site: FakeWebtoon) -> None:
        self.home, self.site = home, site
        self.bench = Bench(home)
        self.bench.values["crawl"] = {**WEB, "download_delay": 0.003, "max_delay": 0.003}
        self.where = home / "toon"
        self.out, self.scratch = home / "raw" / "toon", home / "scratch"
        self.where.mkdir(parents=True)
        entry = {"title": TITLE, "permission": "mine", "rights": "me"}
        (self.where / "permission.yaml").write_text(json.dumps({"titles": [entry]}))
        self.bench.dataset("toon", "webtoon", self.where, titles=[TITLE], max_episodes=None)

    def clear(self) -> None:
        for folder in (self.out.parent, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
        (self.where / "episodes.json").unlink(missing_ok=True)
        self.site.forget()

    def start(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "stages.crawl", "--params", str(self.bench.params), "--dataset", "toon",
            "--scratch", str(self.scratch), "--out", str(self.out),
        ]  # fmt: skip
        environment = {**os.environ, **self.site.environment(), "PYTHONPATH": str(ROOT), "CARTOON_TRACKING": "journal"}
        return subprocess.Popen(
            command, cwd=self.home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def result(self) -> dict[str, str]:
        files = [path for folder in (self.out, self.where) for path in sorted(folder.iterdir())]
        return {str(path.relative_to(self.home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def phase(self) -> str:
        if self.out.exists():
            return "published"
        if (self.where / "episodes.json").exists():
            return "gathering"
        return "fetching" if (self.scratch / "drafts").exists() else "starting"

    def damage(self) -> str:
        """Say what is half; nothing if all is well."""
        if self.out.exists():
            try:
                verify_manifest(self.out)
            except (CorruptInputError, MissingInputError) as error:
                return str(error)
        path = self.where / "episodes.json"
        if path.exists() and len(json.loads(path.read_text())["titles"][TITLE]["episodes"]) != EPISODES:
            return "episodes.json has only a part"
        return ""


def kill_crawls(home: Path, kills: int, seed: int) -> Tally:
    draw, tally = random.Random(seed), Tally()
    with fake_webtoon() as site:
        site.add_title(TITLE)
        site.add_episodes(TITLE, EPISODES, SLICES)
        crawl = Crawl(home, site)
        begun = time.monotonic()
        done = crawl.start()
        _, said = done.communicate()
        whole = time.monotonic() - begun
        assert done.returncode == 0, said.decode()
        expected = crawl.result()
        crawl.clear()
        while tally.kills < kills:
            started = crawl.start()
            try:
                # More often late than early: the first part of a process's life is spent on importing.
                _, said = started.communicate(timeout=whole * (1 - draw.random() ** 2) * 1.05)
            except subprocess.TimeoutExpired:
                started.kill()
                started.communicate()
                tally.kills += 1
                tally.hit[crawl.phase()] = tally.hit.get(crawl.phase(), 0) + 1
                if crawl.damage():
                    tally.half.append(f"kill {tally.kills}: {crawl.damage()}")
                continue
            assert started.returncode == 0, said.decode()
            _check(crawl, expected, tally)
        if crawl.phase() != "starting":
            last = crawl.start()
            _, said = last.communicate()
            assert last.returncode == 0, said.decode()
            _check(crawl, expected, tally)
    return tally


def _check(crawl: Crawl, expected: dict[str, str], tally: Tally) -> None:
    tally.crawls += 1
    if crawl.result() != expected:
        tally.different.append(f"crawl {tally.crawls}, after {tally.kills} kills")
    tally.most_pictures_asked = max(tally.most_pictures_asked, crawl.site.asked["image"])
    tally.strays += [str(path) for path in crawl.out.parent.iterdir() if path != crawl.out and path.suffix != ".lock"]
    crawl.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        tally = kill_crawls(Path(name), arguments.kills, arguments.seed)
    sys.stdout.write(json.dumps(asdict(tally) | {"seconds": round(time.monotonic() - begun, 1)}, indent=2) + "\n")
    sys.exit(bool(tally.different or tally.half))


if __name__ == "__main__":
    main()
