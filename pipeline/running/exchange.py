"""How machines share results: one cache that all of them see, or a DVC remote that they push to and bring from.

DVC's own word that a push succeeded is not enough: it logs what it could not copy of the run-cache, says how many files
were pushed and exits with 0. So what it printed is read as well.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.graph import cache_folder, dvc_command
from pipeline.jobs import Outcome
from pipeline.journal import mask
from pipeline.running.places import bare, folder_id, folder_of, sweep
from pipeline.running.process import execute
from pipeline.running.trouble import (
    ABSENT,
    BAD_SETTING,
    DISOWNED,
    INCOMPLETE,
    NETWORK,
    REMEDIES,
    ExchangeError,
    trouble,
)  # fmt: skip

PAUSES = (2.0, 10.0, 30.0)  # seconds before another try after network trouble, each up to half longer


class Exchange(ABC):
    """One of the two ways; ``Exchange.of`` tells which."""

    @staticmethod
    def of(root: Path, remote: str | None) -> Exchange:
        """Return the exchange of a clone: through the DVC remote of that name, or (None) a cache that all see."""
        return SharedCache(root) if remote is None else Remote(root, remote)

    @abstractmethod
    def identity(self) -> str:
        """Return what two machines must have in common to see each other's results.

        Raises: ExchangeError if there is no such place, or it cannot be reached.
        """

    @abstractmethod
    def fetch(self, targets: Sequence[str] = ()) -> None:
        """Bring what others have made of ``targets`` and of all they need into this clone; execute nothing.

        Args:
            targets: stages or dvc.yaml files, as ``dvc repro`` takes them; none means the root's dvc.yaml.

        Raises: ExchangeError with code 6 if the remote cannot be reached, after some tries.
        """

    @abstractmethod
    def push(self, stages: Sequence[str], allowed: Callable[[], bool]) -> None:
        """Give what ``stages`` have made to the others.

        Args:
            stages: addresses of stages that are up to date in this clone.
            allowed: asked before every try; no, if somebody else has been told meanwhile to do this work.

        Raises: ExchangeError with code 6 if the remote cannot be reached, 9 if it is not allowed, 4 if the results are
            not in this machine's cache either.
        """

    def around(
        self, stages: Sequence[str], run: Callable[[], Sequence[Outcome]], allowed: Callable[[], bool]
    ) -> Sequence[Outcome]:
        """Run a job: bring what it needs, give what it made to the others.

        Args:
            stages: of the job.
            run: runs them.
            allowed: as for ``push``.

        Returns: what ``run`` does.
        Raises: ExchangeError
        """
        self.fetch(stages)
        outcomes = run()
        self.push([outcome.stage for outcome in outcomes if outcome.state in ("ran", "cached")], allowed)
        return outcomes


@dataclass(frozen=True)
class SharedCache(Exchange):
    """A folder on one machine or a network disk: what one finishes, the others have."""

    root: Path

    def identity(self) -> str:
        """Return the cache's own random name, which lies in it."""
        return f"cache {folder_id(cache_folder(self.root))}"

    def fetch(self, targets: Sequence[str] = ()) -> None:
        """Nothing to do: DVC finds everything in the cache."""

    def push(self, stages: Sequence[str], allowed: Callable[[], bool]) -> None:
        """Nothing to do: everything is in the cache."""


@dataclass(frozen=True)
class Remote(Exchange):
    """A DVC remote (S3, SSH, a folder ...): what one has pushed, the others bring. The cost grows with history.

    DVC copies every entry of the run-cache each time, one after the other: about 0.2 ms each for a folder, a round trip
    each for S3.
    """

    root: Path
    name: str

    def identity(self) -> str:
        """Return the remote's address without secrets; for a folder the random name that lies in it."""
        settings = self._settings()
        folder = folder_of(settings)
        if folder is not None:
            self._check(folder)
            return f"folder {folder_id(folder)}"
        endpoint = settings.get("endpointurl")
        return f"remote {bare(settings['url'])}" + (f" at {bare(endpoint)}" if endpoint else "")

    def fetch(self, targets: Sequence[str] = ()) -> None:
        """Let DVC reproduce ``targets`` with a shell that refuses: what it needs not execute, it brings."""
        self._prepare()
        if self._configured("core").get("remote") != self.name:  # `dvc repro --pull` knows no other
            raise ExchangeError(
                f"{self.root}: the remote {self.name} is not DVC's default here; "
                f"`dvc config --local core.remote {self.name}` makes it so", BAD_SETTING,
            )  # fmt: skip
        self._have_objects_hashed()
        with _refusing_shell() as shell:
            self._insist(dvc_command("repro", "--pull", "--keep-going", *targets), {"SHELL": str(shell)}, lambda: True)

    def push(self, stages: Sequence[str], allowed: Callable[[], bool]) -> None:
        """Copy the outputs of ``stages`` and the run-cache to the remote."""
        self._prepare()
        with tempfile.TemporaryDirectory(prefix="push-") as memory:  # DVC's own, of what a remote has, may be wrong
            command = dvc_command("push", "--run-cache", "--remote", self.name, *stages)
            printed = self._insist(command, {"DVC_SITE_CACHE_DIR": memory}, allowed)
        if any(ABSENT.search(line) for line in printed):
            raise ExchangeError(
                f"remote {self.name}: outputs of {', '.join(stages)} are neither in the cache nor there; "
                "`cartoon-pipeline verify` shows what is damaged, `dvc repro` makes it again", INCOMPLETE,
            )  # fmt: skip

    def _insist(self, command: list[str], environment: Mapping[str, str], allowed: Callable[[], bool]) -> list[str]:
        """Run DVC, again after network trouble; return what it printed."""
        for pause in (*PAUSES, None):
            if not allowed():
                raise ExchangeError(
                    f"remote {self.name}: nothing is pushed: this run was given up and its work is with another",
                    DISOWNED,
                )
            lines: list[str] = []
            ended = execute(command, self.root, environment, lines.append)
            found = trouble(lines, "repro" in command or ended == 0)
            if found is None:
                return lines
            line, code = found
            if code != NETWORK or pause is None:
                raise ExchangeError(f"remote {self.name}: {mask(line)}; {REMEDIES[code]}", code)
            time.sleep(pause * random.uniform(1, 1.5))
        raise AssertionError("the last try returns or raises")

    def _have_objects_hashed(self) -> None:
        """Switch on that DVC hashes what it brings, unless this is set: else it believes the name of an object."""
        if "verify" not in self._settings():
            command = dvc_command("config", "--local", f"remote.{self.name}.verify", "true")
            subprocess.run(command, cwd=self.root, check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def _prepare(self) -> None:
        folder = folder_of(self._settings())
        if folder is not None:
            self._check(folder)
            sweep(folder / "runs")

    def folder(self) -> Path:
        """Return the folder that this remote is.

        Raises: ExchangeError if it is none, or is not there.
        """
        folder = folder_of(self._settings())
        if folder is None:
            raise ExchangeError(
                f"remote {self.name}: is no folder, so its objects cannot be hashed in place; `dvc config --local "
                f"remote.{self.name}.verify true` makes DVC hash each one that it brings", BAD_SETTING,
            )  # fmt: skip
        self._check(folder)
        return folder

    def _check(self, folder: Path) -> None:
        """Refuse a folder that is not there: DVC would make it, on the disk below a mount point for instance."""
        if not folder.is_dir():
            raise ExchangeError(
                f"remote {self.name}: {folder}: no such folder; mount its disk, or make it if it is new", NETWORK
            )

    def _settings(self) -> dict[str, str]:
        settings = self._configured(f"remote.{self.name}")
        if not settings.get("url"):
            raise ExchangeError(
                f"{self.root}: DVC knows no remote {self.name!r}; `dvc remote add {self.name} URL` adds it",
                BAD_SETTING,
            )
        if urlsplit(settings["url"]).scheme in ("http", "https"):
            raise ExchangeError(
                f"remote {self.name}: DVC does not exchange runs over {bare(settings['url'])}; "
                "expected a folder, S3, SSH or another store", BAD_SETTING,
            )  # fmt: skip
        return settings

    def _configured(self, section: str) -> dict[str, str]:
        """Return DVC's settings ``section.*``, all files merged, paths absolute."""
        command = [sys.executable, "-m", "dvc", "config", "--list"]
        result = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            said = mask((result.stderr.strip().splitlines() or ["no message"])[-1])
            raise ExchangeError(f"`dvc config --list` failed in {self.root}: {said}", BAD_SETTING)
        pairs = (line.partition("=") for line in result.stdout.splitlines())
        return {key.removeprefix(f"{section}."): value for key, _, value in pairs if key.rpartition(".")[0] == section}


@contextmanager
def _refusing_shell() -> Iterator[Path]:
    """A shell for DVC that executes nothing."""
    with tempfile.TemporaryDirectory(prefix="refuse-") as folder:
        shell = Path(folder) / "sh"
        shell.write_text("#!/bin/sh\nexit 5\n")
        shell.chmod(0o755)
        yield shell
