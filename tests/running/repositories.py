"""A small DVC project in git, for what works on commits and clones."""

from __future__ import annotations

import subprocess
from pathlib import Path

IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@localhost")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def make_project(folder: Path, stages: str, **files: str) -> Path:
    """A committed project; ``files`` are further contents by name, with ``__`` for dots."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    autostage = false\n")
    (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / ".dvcignore").write_text("/scratch\n")
    (folder / ".gitignore").write_text("scratch/\n*.txt\n")
    (folder / "params.yaml").write_text("profile: demo\nroot: .\nparams_file: params.yaml\n")
    (folder / "dvc.yaml").write_text(f"stages:\n{stages}")
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "start")
    return folder


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def stage(name: str, cmd: str = "", deps: str = "params.yaml", pool: str = "cpu", more: str = "") -> str:
    """A stage that writes NAME.txt after some shell commands."""
    do = f"{cmd}{'; ' if cmd else ''}echo {name} > {name}.txt"
    return f"  {name}:\n    cmd: {do}\n    deps: [{deps}]\n    outs: [{name}.txt]\n    meta: {{pool: {pool}{more}}}\n"
