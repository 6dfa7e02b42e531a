"""A copy of the project to run DVC in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = ("model/", "stages/", "pipeline/", "profiles/")
COPIED = (*CODE, "exclusions/", ".dvc", "dvc.yaml", "params.yaml", "weights.lock.yaml")


def copy_project(home: Path) -> None:
    """Copy what `dvc repro` needs to ``home``, and make it a git repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    for name in names:
        if name.startswith(COPIED):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, home / name)
    subprocess.run(["git", "init", "-q"], cwd=home, check=True)


def repro(home: Path, *arguments: str) -> str:
    tools = Path(sys.executable).parent  # of this environment, activated or not
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(home), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        ["dvc", "repro", *arguments], cwd=home, env=env, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout


def ran(output: str) -> set[str]:
    """Return the stages that DVC says it executed."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}
