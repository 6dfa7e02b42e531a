"""A full disk while DVC stores a result: the job says so, and goes on from there when there is room again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import md5
from pathlib import Path

import pytest
import yaml

from tests.running.toys import ROOT, Toy

pytestmark = pytest.mark.slow

MB = 2**20
MOUNT = ["unshare", "--user", "--map-root-user", "--mount", "--"]
RUN = f"{sys.executable} -m tests.running.runner $TOY '' pool=cpu && cp $TOY/outcomes.jsonl $TOY/$1.jsonl"
WAYS = {
    # No process may write a file longer than this, but the stage may.
    "limit": "(ulimit -S -f 6144; run full); listed > $TOY/objects.txt; run free; listed >> $TOY/objects.txt",
    "disk": "mount -t tmpfs -o size=6m none $CACHE && run full; listed > $TOY/objects.txt; "
    "mount -o remount,size=60m $CACHE; run free; listed >> $TOY/objects.txt",
}


def _may_mount(folder: Path = Path("/mnt")) -> bool:
    mount = [*MOUNT, "mount", "-t", "tmpfs", "none", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("way", ["limit", *(["disk"] if _may_mount() else [])])
def test_a_full_disk_is_named_and_with_room_the_same_command_goes_on(tmp_path: Path, way: str) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    toy = Toy.make(tmp_path / "project", cache=cache)
    after = "echo after >> $COUNTS; wc -c < big.txt > after.txt"
    big = f"ulimit -S -f unlimited; echo big >> $COUNTS; head -c {8 * MB} /dev/zero > big.txt"
    stages = {
        "small": {"cmd": "echo small >> $COUNTS; echo 1 > small.txt", "deps": ["in"], "outs": ["small.txt"]},
        "big": {"cmd": big, "deps": ["small.txt"], "outs": ["big.txt"]},
        "after": {
            "cmd": after,
            "deps": ["big.txt"],
            "outs": ["after.txt"],
        },
    }
    (toy.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False, width=10_000))
    toy.commit()
    script = f"run() {{ {RUN}; }}; listed() {{ find $CACHE/files -type f -exec md5sum {{}} +; echo; }}; {WAYS[way]}"
    subprocess.run(
        [*(MOUNT if way == "disk" else []), "bash", "-c", script], cwd=ROOT, check=True, timeout=120,
        env={**os.environ, "TOY": str(toy.root), "CACHE": str(cache), "COUNTS": str(toy.counts)},
    )  # fmt: skip
    assert outcomes(toy, "full") == {"small": ("ran", 0), "big": ("failed", 5), "after": ("skipped", 0)}
    told = [json.loads(line) for line in (toy.root / "output.jsonl").read_text().splitlines()]
    (named,) = [line for line in told if line.startswith("error: no space left for a result")]
    assert f"MB at {cache} (the cache)" in named
    assert outcomes(toy, "free") == {"small": ("cached", 0), "big": ("ran", 0), "after": ("ran", 0)}
    assert toy.executed() == ["small", "big", "big", "after"]
    assert (toy.root / "after.txt").read_text().strip() == str(8 * MB)
    for line in (toy.root / "objects.txt").read_text().splitlines():
        if line and ".dir" not in line and not Path(line.split()[1]).name.startswith("."):
            found, path = line.split()
            assert Path(path).parent.name + Path(path).name == found  # whatever has an object's name is that object


def outcomes(toy: Toy, when: str) -> dict[str, tuple[str, int]]:
    told = json.loads((toy.root / f"{when}.jsonl").read_text())
    return {name: (told[name]["state"], told[name]["exit_code"]) for name in told}


def test_half_an_object_is_not_restored(toy: Toy) -> None:
    """DVC writes under another name and renames; even so, what it has not finished (not made read-only) is hashed."""
    toy.stages(a="in:", b="a:")
    toy.run()
    content = (toy.root / "a.txt").read_bytes()
    name = md5(content, usedforsecurity=False).hexdigest()
    stored = toy.root / ".dvc" / "cache" / "files" / "md5" / name[:2] / name[2:]
    stored.chmod(0o644)
    stored.write_bytes(content[:1])
    for path in (toy.root / "a.txt", toy.root / "b.txt"):
        path.unlink()
    assert {one.state for one in toy.run().values()} <= {"ran", "cached"}
    assert (toy.root / "a.txt").read_bytes() == content
    assert toy.executed()[:3] == ["a", "b", "a"]
