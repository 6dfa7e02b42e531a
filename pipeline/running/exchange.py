"""How machines share results: one cache that all of them see, or a DVC remote that they push to and bring from.

DVC's own word that a push succeeded is not enough: it logs what it could not copy of the run-cache, says how many files
were pushed and exits with 0. So what it printed is read as well.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.graph import cache_folder, dvc_command
from pipeline.journal import mask

PAUSES = (2.0, 10.0, 30.0)  # seconds before another try after network trouble, each up to half longer
_ID = "exchange-id"  # the file that says which cache, or which folder of a remote, this is
_LEFT_BEHIND = 3600.0  # seconds after which a half-written file belongs to nobody any more
_BAD_SETTING, _INCOMPLETE, _NO_SPACE, _NETWORK, _DISOWNED = 2, 4, 5, 6, 9  # exit codes
_CREDENTIALS = re.compile(
    r"credential|AccessDenied|Access Denied|Forbidden|InvalidAccessKeyId|SignatureDoesNotMatch|Expired ?Token|"
    r"InvalidToken|Unauthorized|authenticat|Permission denied",
    re.IGNORECASE,
)
_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_SETTINGS = re.compile(r"NoSuchBucket|bucket does not exist|config(uration)? (file )?error|is supported, but requires")
_ABSENT = re.compile(r"do(es)? not exist neither locally nor on remote|[Mm]issing cache files")
_TROUBLE = re.compile(
    r"failed to (transfer|push data)|connect|timed? ?out|name resolution|getaddrinfo|unexpected error", re.IGNORECASE
)
_STAGE_TROUBLE = re.compile(r"failed to run: |missing data ")  # may quote anything


class ExchangeError(Exception):
    """Results cannot be exchanged; nothing is lost, they are in this machine's cache."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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
        folder = _folder(settings)
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
                f"`dvc config --local core.remote {self.name}` makes it so", _BAD_SETTING,
            )  # fmt: skip
        with _refusing_shell() as shell:
            self._insist(dvc_command("repro", "--pull", "--keep-going", *targets), {"SHELL": str(shell)}, lambda: True)

    def push(self, stages: Sequence[str], allowed: Callable[[], bool]) -> None:
        """Copy the outputs of ``stages`` and the run-cache to the remote."""
        self._prepare()
        printed = self._insist(dvc_command("push", "--run-cache", "--remote", self.name, *stages), {}, allowed)
        if _ABSENT.search(printed):
            raise ExchangeError(
                f"remote {self.name}: outputs of {', '.join(stages)} are neither in the cache nor there; "
                "`cartoon-pipeline verify` shows what is damaged, `dvc repro` makes it again", _INCOMPLETE,
            )  # fmt: skip

    def _insist(self, command: list[str], environment: Mapping[str, str], allowed: Callable[[], bool]) -> str:
        """Run DVC, again after network trouble; return what it printed."""
        for pause in (*PAUSES, None):
            if not allowed():
                raise ExchangeError(
                    f"remote {self.name}: nothing is pushed: this run was given up and its work is with another",
                    _DISOWNED,
                )
            result = subprocess.run(
                command, cwd=self.root, env={**os.environ, **environment}, text=True, errors="replace", check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            trouble = _trouble(result.stdout, "repro" in command or result.returncode == 0)
            if trouble is None:
                return result.stdout
            line, code = trouble
            if code != _NETWORK or pause is None:
                raise ExchangeError(f"remote {self.name}: {mask(line)}; {_REMEDIES[code]}", code)
            time.sleep(pause * random.uniform(1, 1.5))
        raise AssertionError("the last try returns or raises")

    def _prepare(self) -> None:
        folder = _folder(self._settings())
        if folder is not None:
            self._check(folder)
            _sweep(folder / "runs")

    def folder(self) -> Path:
        """Return the folder that this remote is.

        Raises: ExchangeError if it is none, or is not there.
        """
        folder = _folder(self._settings())
        if folder is None:
            raise ExchangeError(
                f"remote {self.name}: is no folder, so its objects cannot be hashed in place; `dvc config --local "
                f"remote.{self.name}.verify true` makes DVC hash each one that it brings", _BAD_SETTING,
            )  # fmt: skip
        self._check(folder)
        return folder

    def _check(self, folder: Path) -> None:
        """Refuse a folder that is not there: DVC would make it, on the disk below a mount point for instance."""
        if not folder.is_dir():
            raise ExchangeError(
                f"remote {self.name}: {folder}: no such folder; mount its disk, or make it if it is new", _NETWORK
            )

    def _settings(self) -> dict[str, str]:
        settings = self._configured(f"remote.{self.name}")
        if not settings.get("url"):
            raise ExchangeError(
                f"{self.root}: DVC knows no remote {self.name!r}; `dvc remote add {self.name} URL` adds it",
                _BAD_SETTING,
            )
        if urlsplit(settings["url"]).scheme in ("http", "https"):
            raise ExchangeError(
                f"remote {self.name}: DVC does not exchange runs over {bare(settings['url'])}; "
                "expected a folder, S3, SSH or another store", _BAD_SETTING,
            )  # fmt: skip
        return settings

    def _configured(self, section: str) -> dict[str, str]:
        """Return DVC's settings ``section.*``, all files merged, paths absolute."""
        command = [sys.executable, "-m", "dvc", "config", "--list"]
        result = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            said = mask((result.stderr.strip().splitlines() or ["no message"])[-1])
            raise ExchangeError(f"`dvc config --list` failed in {self.root}: {said}", _BAD_SETTING)
        pairs = (line.partition("=") for line in result.stdout.splitlines())
        return {key.removeprefix(f"{section}."): value for key, _, value in pairs if key.rpartition(".")[0] == section}


_REMEDIES = {
    1: "`dvc push --verbose` by hand says more",
    _BAD_SETTING: "check the remote's settings and its keys: `dvc remote modify --local`, or AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY or AWS_PROFILE for S3",
    _NO_SPACE: "free some space there or here and start again",
    _NETWORK: "nothing is lost, results are in this machine's cache; the same again goes on from here",
}


def _trouble(printed: str, tolerant: bool) -> tuple[str, int] | None:
    """Return the line that matters of what DVC printed and an exit code; None if it reached all it wanted.

    Args:
        printed: by DVC.
        tolerant: an error of another kind is none of the exchange.
    """
    lines = [line for line in printed.splitlines() if line.startswith("ERROR") and not _STAGE_TROUBLE.search(line)]
    kinds = ((_SPACE, _NO_SPACE), (_CREDENTIALS, _BAD_SETTING), (_SETTINGS, _BAD_SETTING), (_TROUBLE, _NETWORK))
    for pattern, code in kinds:
        for line in lines:
            if pattern.search(line):
                return line.removeprefix("ERROR:").strip()[:400], code
    return None if tolerant else ((lines or printed.strip().splitlines() or ["no message"])[-1][:400], 1)


def folder_id(folder: Path) -> str:
    """Return the random name that lies in a folder; the first to ask makes it.

    Raises: ExchangeError if there is none and none can be written.
    """
    path = folder / _ID
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _create(path, secrets.token_hex(8) + "\n")
        found = path.read_text().strip()
    except OSError as error:
        raise ExchangeError(f"{path}: cannot be written or read: {error.strerror}; machines tell by it whether they "
                            "share this folder", _NO_SPACE) from error  # fmt: skip
    if not re.fullmatch(r"[0-9a-f]{16}", found):
        raise ExchangeError(f"{path}: found {found[:40]!r}, expected 16 hex digits; delete it", _INCOMPLETE)
    return found


def _create(path: Path, text: str) -> None:
    """Write a file that is whole from the start, unless somebody else has been faster."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", suffix=".tmp") as file:
        file.write(text)
        file.flush()
        Path(file.name).chmod(0o644)
        with suppress(FileExistsError):
            os.link(file.name, path)


def bare(url: str) -> str:
    """Return an address without user, password, query and fragment: what may be shown and compared."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"


def _folder(settings: Mapping[str, str]) -> Path | None:
    """The folder that a remote is; None if it is elsewhere."""
    parts = urlsplit(settings["url"])
    if parts.scheme in ("", "file"):
        return Path(parts.path if parts.scheme else settings["url"])
    return None


def _sweep(runs: Path) -> None:
    """Remove what killed copies left in a run-cache: DVC would take the newest file of a run for its entry."""
    for path in runs.glob("??/*/.*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _LEFT_BEHIND:
                path.unlink()


@contextmanager
def _refusing_shell() -> Iterator[Path]:
    """A shell for DVC that executes nothing."""
    with tempfile.TemporaryDirectory(prefix="refuse-") as folder:
        shell = Path(folder) / "sh"
        shell.write_text("#!/bin/sh\nexit 5\n")
        shell.chmod(0o755)
        yield shell
