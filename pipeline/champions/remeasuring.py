"""A champion measured again, beside the candidates of today: a process of ``stages.remeasure``, and what came of it."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.champions.candidates import Candidate, Contest, Numbers, basis_of, gates_of, numbers_of
from pipeline.champions.models import SHA256, RegistryError
from pipeline.champions.recipes import GENERATOR, fetch_files
from pipeline.locks import held
from pipeline.profiles import dvcfile_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_TECHNIQUES, _TUNED_FROM = "techniques", "tuned_from"  # tags of a version: how it draws
_IN_WORDS = "measured_again"  # tag of a version: what was measured of it last, for people
_MEASURED = "measured."  # tags of a version: what was measured of it later, by digest of what it was measured on
_CHANGED = {"kid": "KID", "similarity": "similarity", "images": "dataset", "source": "source generator"}
_FORMAT = 1
_LIMIT = 3600  # s
_KILL_AFTER = 30  # s
_EXPIRED = 124  # exit code of timeout(1)
_USAGE = 2  # exit code: it would fail in the same way again

log = logging.getLogger("run")


@dataclass(frozen=True)
class Measured:
    """What was measured of a version, after it was registered."""

    version: int
    basis: dict[str, str]  # as of a contest
    numbers: Numbers
    gates: dict[str, str]
    when: str  # ISO 8601, UTC; empty where it was registered with them

    def tags(self) -> dict[str, str]:
        """Return what the version is marked with: the numbers by what they were measured on, and the last in words."""
        words = f"{self.when[:10]}: KID {self.numbers.kid:.4g}, similarity {self.numbers.similarity:.4g}"
        return {_IN_WORDS: words, _MEASURED + _key(self.basis): json.dumps(asdict(self), sort_keys=True)}


@dataclass(frozen=True)
class NotMeasured:
    """Why there are no such numbers."""

    version: int
    why: str
    final: bool  # another try would end in the same way


def how_it_draws(one: Candidate, contest: Contest) -> dict[str, str]:
    """Return tags of a version that say with which style vectors it draws."""
    techniques = json.dumps(one.techniques, sort_keys=True)
    return {_TECHNIQUES: techniques, _TUNED_FROM: contest.basis["source"]}


def first_numbers(version: ModelVersion) -> Numbers:
    """Return those that a version was registered with."""
    return Numbers(**json.loads(version.tags["numbers"]))


def numbers_on(version: ModelVersion, basis: Mapping[str, str]) -> Measured | None:
    """Return what is known of a version on some images, by some instruments: from the beginning, or later."""
    if "basis" in version.tags and json.loads(version.tags["basis"]) == basis:
        return Measured(int(version.version), dict(basis), first_numbers(version), {}, "")
    later = version.tags.get(_MEASURED + _key(basis))
    if later is None:
        return None
    found = json.loads(later)
    return Measured(**found | {"numbers": Numbers(**found["numbers"])})


def changes(version: ModelVersion, basis: Mapping[str, str]) -> list[str]:
    """Return what keeps a version's first numbers from being compared with others, in words."""
    if "basis" not in version.tags:
        return ["program, or not at all"]  # somebody registered it by hand
    theirs: dict[str, str] = json.loads(version.tags["basis"])
    return [_CHANGED[name] for name, value in basis.items() if theirs.get(name) != value]


def _key(basis: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(basis), sort_keys=True).encode()).hexdigest()[:16]


def now() -> str:
    """The time as :class:`Measured` has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def measure_again(root: Path, contest: Contest, client: MlflowClient, version: ModelVersion) -> Measured | NotMeasured:
    """Measure a registered generator on what a contest's candidates were measured on.

    Takes seconds to minutes; the process is ended after an hour, and with this one. Its messages are logged.

    Args:
        root: the project, with the outputs of its stages.
        contest: whose images, instruments and source are taken.
        client: of the registry; its lock is not needed.
        version: the generator.

    Returns: numbers, or why there are none.
    Raises: InterruptedError if everything is being ended.
    """
    from mlflow.exceptions import MlflowException

    number = int(version.version)
    if not {SHA256, _TECHNIQUES, _TUNED_FROM} <= version.tags.keys():
        return NotMeasured(number, "it was not registered by this program, so how it draws is not known", final=True)
    log.info("champion of %s: version %d is measured again on today's images", contest.dataset, number)
    try:
        with _folder(root.resolve() / "scratch" / "champions" / f"{contest.profile}-{contest.dataset}") as folder:
            fetch_files(client, version, folder / GENERATOR)
            failed = _run(root, contest, version, folder)
            return failed or _read(folder / "measured.json", contest, version)
    except (RegistryError, MlflowException, OSError) as error:
        if isinstance(error, InterruptedError):
            raise
        return NotMeasured(number, " ".join(str(error).split())[:300], final=False)


@contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    """An empty folder of which nobody else has use; what a killed process left there goes first."""
    with held(folder.with_name(f"{folder.name}.lock"), _LIMIT) as mine:
        if not mine:
            raise RegistryError(f"another process has measured it for {_LIMIT / 60:.0f} minutes", 9)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _run(root: Path, contest: Contest, version: ModelVersion, folder: Path) -> NotMeasured | None:
    """Run the process; returns why it failed, or None."""
    from pipeline.running.process import GROUPS, execute

    work = Path("work") / contest.profile
    flags = {
        "params": Path(dvcfile_of(root, contest.profile)).with_name("params.yaml"),
        "reference": work / "reference" / contest.dataset, "lmdb": work / "lmdb" / contest.dataset,
        "source": work / "source", "generator": folder / GENERATOR, "techniques": version.tags[_TECHNIQUES],
        "tuned-from": version.tags[_TUNED_FROM], "out": folder / "measured.json",
    }  # fmt: skip
    limited = ["timeout", f"--kill-after={_KILL_AFTER}", str(_LIMIT), sys.executable, "-m", "stages.remeasure"]
    lines: list[str] = []

    def hear(line: str) -> None:
        log.info("%s", line)
        lines.append(line)

    # Its record has this name in MLflow, like those of stages; whoever publishes next sends it.
    named = {"DVC_STAGE": f"remeasure@{contest.dataset}", "CARTOON_TRACKING": "journal"}
    command = [*limited, *(part for flag, value in flags.items() for part in (f"--{flag}", str(value)))]
    code = execute(command, root, named, hear)
    if GROUPS.closed:
        raise InterruptedError("stopping: the champion was not measured")
    if not code:
        return None
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines
    why = f"its process ended with exit code {code}{': ' if errors else ''}{''.join(errors[-1:])}"
    if code == _EXPIRED:
        why = f"it took longer than {_LIMIT / 60:.0f} minutes; on a machine with a GPU it may not"
    return NotMeasured(int(version.version), why[:300], final=code == _USAGE)


def _read(path: Path, contest: Contest, version: ModelVersion) -> Measured | NotMeasured:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    number = int(version.version)
    if found["format"] != _FORMAT or found["generator"] != version.tags[SHA256]:
        return NotMeasured(number, "its process measured something else (a bug)", final=False)
    basis = basis_of(found["style"], found["measures"], found["facts"]["lmdb_digest"], found["source"])
    if basis != contest.basis:
        changed = ", ".join(name for name in basis if basis[name] != contest.basis[name])
        return NotMeasured(
            number, f"the outputs of the stages are not those of the comparison ({changed}); run `dvc repro`",
            final=False,
        )  # fmt: skip
    if found["cell"].get("similarity") is None:
        return NotMeasured(number, "its similarity could not be measured", final=True)
    numbers = numbers_of(found["cell"], found["style"], found["facts"])
    return Measured(number, basis, numbers, gates_of(found["cell"]), now())
