"""Ask the place a dataset comes from, by a process of ``stages``, which knows kinds of sources and talks to the web."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


class AskError(Exception):
    """The place did not answer, or what is here of the dataset is wrong."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Answer:
    """What ``cartoon-pipeline datasets look`` says of a dataset."""

    dataset: str
    source: str  # kind: webtoon, urls, folder ...
    where: str
    kept: str  # by what its versions are kept: git, dvc or code
    manifest: str | None  # the file in git that was brought up to date
    news: list[str]  # for people


def ask_source(clone: Path, profile: str, dataset: str, address: str | None) -> Answer:
    """Bring a dataset's manifest in a clone up to date.

    The process ends with this one, however this one ends: what it has fetched is kept, and not asked for again.

    Args:
        clone: the project at a commit.
        profile: whose dataset.
        dataset: its name.
        address: of the list that it follows; None if there is none.

    Raises: AskError with the process's own message and exit code.
    """
    look = [sys.executable, "-m", "stages.sources", "look", dataset, "--profile", profile, "--json"]
    look += ["--list", address] if address is not None else []
    command = [sys.executable, "-m", "pipeline.running.supervise", "--", *look]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        # Its end of life is the end of this pipe, so nothing may close it before.
        with subprocess.Popen(command, cwd=clone, stdin=subprocess.PIPE, stdout=said, stderr=complained) as process:
            process.wait()
        said.seek(0)
        complained.seek(0)
        if process.returncode != 0:
            raise AskError(_reason(complained.read()), process.returncode)
        return Answer(**json.loads(said.read().strip().splitlines()[-1]))


def _reason(text: str) -> str:
    lines = text.strip().splitlines() or ["no message"]
    return next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), lines[-1])
