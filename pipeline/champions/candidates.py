"""Who may become champion: the generators of a comparison that are files of their own, with their numbers and worth.

A candidate is one cell of ``reports/<profile>/data/table.parquet``: a tuned generator, or one with layers of the source
swapped in by weights. (Handing over activations takes two generators at once, so those cells cannot be one file.)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

_ABOUT = b"cartoon"  # key of the table's metadata
_FORMAT = 1
_GATE = "gate_"
_SIMILARITY = "similarity"


class CandidateError(Exception):
    """A comparison, or a generator that it names, cannot be used."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NoComparisonError(CandidateError):
    """There is no comparison yet."""

    missing: ClassVar[int] = 3

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: no such file; run `dvc repro` (or `dvc checkout`) to compare first", self.missing)


@dataclass(frozen=True)
class Numbers:
    """What was measured of a generator, with standard errors (of images; the luck of training is not in them)."""

    kid: float  # x 10^3, to held-out images
    kid_error: float
    similarity: float  # 1 = the same face, 0 = no closer than another person's
    similarity_error: float


@dataclass(frozen=True)
class Scale:
    """How much style a KID has lost: 0 at ``floor``, 1 at the untuned source, by its logarithm."""

    floor: float  # the smallest KID worth telling apart
    source: float  # KID of the untuned source
    limit: float  # drawings have a KID of at most this

    def worth(self, numbers: Numbers) -> float:
        """Return likeness kept minus style lost: 1 for a perfect cartoonist, 0 for the untuned source."""
        return numbers.similarity - math.log(max(numbers.kid, self.floor) / self.floor) / self._whole

    def error(self, numbers: Numbers) -> float:
        """Return the standard error of :meth:`worth`."""
        style = numbers.kid_error / max(numbers.kid, self.floor) / self._whole
        return math.hypot(numbers.similarity_error, style)

    @property
    def _whole(self) -> float:
        return math.log(self.source / self.floor)


@dataclass(frozen=True)
class Candidate:
    """One generator file."""

    dataset: str
    method: str
    seed: str
    snapshot: str  # empty where a single one was swept
    kimg: float  # of the snapshot
    swap: str  # none, or a key of swap.kinds
    level: int  # px, 0 for none
    numbers: Numbers
    gates: dict[str, str]  # memorisation, collapse -> pass, alarm, fail
    techniques: dict[str, Any]  # by which it was tuned -> settings
    file: Path  # of its weights
    sha256: str

    @property
    def title(self) -> str:
        """A few words for people: ``freeze_sg, seed s0, weights up to 16 px``."""
        swap = "no swap" if self.swap == "none" else f"{self.swap} up to {self.level} px" if self.level else self.swap
        return ", ".join([self.method, f"seed {self.seed}", *([self.snapshot] if self.snapshot else []), swap])


@dataclass(frozen=True)
class Contest:
    """One dataset of a comparison."""

    profile: str
    dataset: str
    basis: dict[str, str]  # what has to be equal for numbers to be comparable
    scale: Scale
    candidates: tuple[Candidate, ...]  # that no gate bars and that look drawn
    barred: dict[str, int]  # why others are none -> how many
    allowed: tuple[str, ...]  # verdicts of gates that a candidate may have
    about: Mapping[str, Any]  # what the comparison says of itself

    def bar(self, numbers: Numbers, gates: Mapping[str, str]) -> str:
        """Return why a generator that was measured like these may not be champion, or nothing."""
        return _bar(gates, numbers.kid, self.scale, self.allowed)

    def digest(self, rules: object) -> str:
        """Digest of everything that a decision follows from, beside the champion."""
        cells = [[one.title, one.sha256, *vars(one.numbers).values()] for one in self.candidates]
        text = json.dumps([cells, self.basis, vars(self.scale), repr(rules)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_contests(root: Path, profile: str, gates: Sequence[str]) -> list[Contest]:
    """Read the comparison of a profile.

    Args:
        root: the project, with the outputs of its stages.
        profile: whose comparison.
        gates: verdicts that a candidate may have, ``("pass", "alarm")``.

    Returns: one contest per dataset that was measured.
    Raises: NoComparisonError without one; CandidateError if it cannot be read, or a generator it names is not there.
    """
    path = root / "reports" / profile / "data" / "table.parquet"
    about, rows = _read(path)
    datasets = [name for name in about["datasets"] if any(row["dataset"] == name for row in rows)]
    return [_contest(root, about, name, [row for row in rows if row["dataset"] == name], gates) for name in datasets]


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise NoComparisonError(path)
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']}, expected {_FORMAT}")
        return about, table.to_pylist()
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        message = f"{path}: not a comparison ({type(error).__name__}: {error}); run `dvc repro` to compare again"
        raise CandidateError(message, 4) from error


def heldout_of(style: str) -> str:
    """Return the key of the KID to held-out images, by that of the KID that ranks."""
    return style.replace("_x1e3", "_heldout_x1e3")


def _contest(
    root: Path, about: Mapping[str, Any], dataset: str, rows: Sequence[Mapping[str, Any]], gates: Sequence[str]
) -> Contest:
    kid = heldout_of(str(about["style"]))
    facts, source = about["facts"][dataset], about["anchors"][dataset].get("source", {})
    scale = _scale(about["findings"], dataset, float(source.get(kid, math.nan)))
    found = []
    barred: dict[str, int] = {}
    for row in rows:
        why = _no_candidate(row, kid, about["settings"]["kinds"]) or _bar(gates_of(row), row[kid], scale, gates)
        if why:
            barred[why] = barred.get(why, 0) + 1
        else:
            found.append(_candidate(root, about, row, facts))
    weights: dict[str, str] = next(iter(facts["weights"].values()), {})
    measures = [str(one) for one in about["measures"]]
    basis = basis_of(str(about["style"]), measures, str(facts["lmdb_digest"]), str(weights.get("source", "")))
    return Contest(str(about["profile"]), dataset, basis, scale, tuple(found), barred, tuple(gates), about)


def basis_of(style: str, measures: Sequence[str], images: str, source: str) -> dict[str, str]:
    """Return what has to be equal for numbers to be comparable.

    Args:
        style: key of the KID that ranks: the instrument and the number of images stand in it.
        measures: whose lifts make the similarity.
        images: digest of training and held-out images.
        source: sha256 of the source generator.
    """
    return {"kid": heldout_of(style), "similarity": ", ".join(measures), "images": images, "source": source}


def _scale(findings: Mapping[str, Any], dataset: str, source: float) -> Scale:
    floor, limit = float(findings["floors"][dataset]), findings["limits"][dataset]
    if not source > floor > 0:
        raise CandidateError(
            f"{dataset}: the untuned source's KID is {source:g} and the smallest one told apart {floor:g}, so style "
            "has no scale; measure more images (evaluate.images), and the source with them",
            7,
        )
    return Scale(floor, source, math.inf if limit is None else float(limit))


def _no_candidate(row: Mapping[str, Any], kid: str, kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why a cell cannot be champion, whatever its numbers are, or nothing."""
    if row["swap"] != "none" and kinds[row["swap"]]["mix"] == "features":
        return "mixes activations, so is no file of its own"
    if row.get(kid) is None or row.get(_SIMILARITY) is None:
        return "KID on held-out images or similarity was not measured"
    return ""


def _bar(gates: Mapping[str, str], kid: float, scale: Scale, allowed: Sequence[str]) -> str:
    """Return why a generator with such numbers may not be champion, or nothing."""
    failed = [name for name, value in gates.items() if value not in allowed]
    if failed:
        return f"gate {', '.join(failed)}"
    return "" if kid <= scale.limit else f"no longer looks drawn (KID above {scale.limit:.0f})"


def gates_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what the gates say of a cell: memorisation, collapse -> pass, alarm, fail, or "not measured"."""
    named = {name.removeprefix(_GATE): value for name, value in row.items() if name.startswith(_GATE)}
    return {name: "not measured" if value is None else str(value) for name, value in named.items()}


def _candidate(root: Path, about: Mapping[str, Any], row: Mapping[str, Any], facts: Mapping[str, Any]) -> Candidate:
    names = ("dataset", "method", "seed", "snapshot", "swap")
    where: dict[str, Any] = {name: str(row[name]) for name in names}
    where |= {"kimg": float(row["kimg"]), "level": int(row["level"])}
    file, techniques = _file(root, str(about["profile"]), where)
    numbers = numbers_of(row, str(about["style"]), {**facts, "n_gen": about["facts"][""]["n_gen"]})
    return Candidate(
        **where, numbers=numbers, gates=gates_of(row), techniques=techniques, file=file, sha256=_noted(file)
    )


def numbers_of(row: Mapping[str, Any], style: str, facts: Mapping[str, Any]) -> Numbers:
    """Gather numbers and errors of a cell; that of the KID was taken beside the training images, which are more.

    Args:
        row: of the table of a comparison.
        style: key of the KID that ranks.
        facts: ``n_gen``, ``n_real`` and ``n_heldout``, how many images there were.
    """
    stem, bracket, extractor = style.partition("[")
    error = row.get(f"{stem}_std{bracket}{extractor}") or 0.0
    fewer = min(facts["n_gen"], facts["n_real"]) / min(facts["n_gen"], facts["n_heldout"])
    pairs = [value for value in row.get(f"pairs:{_SIMILARITY}") or [] if value is not None and math.isfinite(value)]
    kid = float(row[heldout_of(style)])
    return Numbers(kid, float(error * math.sqrt(max(1.0, fewer))), float(row[_SIMILARITY]), _error(pairs))


def _error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def _file(root: Path, profile: str, where: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Find the weights of a cell, in its training's folder or among its blends, and the techniques behind it."""
    cell, work = f"{where['method']}-{where['dataset']}-{where['seed']}", root / "work" / profile
    swaps = work / "swap" / cell
    noted = _json(swaps / "MANIFEST.json")
    take = next((one for one in noted["snapshots"] if one["name"] == where["snapshot"]), noted["snapshots"][0])
    if where["swap"] == "none":
        return work / "train" / cell / str(take["file"]), noted["techniques"]
    return swaps / str(take["folder"]) / f"{where['swap']}-{where['level']}.safetensors", noted["techniques"]


def _noted(file: Path) -> str:
    """Return the sha256 that lies beside a weight file."""
    return str(_json(file.with_name(file.name + ".json"))["sha256"])


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CandidateError(f"{path}: no such file; bring outputs back with `dvc checkout`", 3) from error
    except ValueError as error:
        raise CandidateError(f"{path}: not JSON ({error}); bring it back with `dvc checkout --force`", 4) from error
