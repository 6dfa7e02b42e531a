"""From names in the params file to measuring networks; whose weights are missing is told before anything is computed.

Nothing here imports torch before :func:`open_all`: a missing file is reported within a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import MissingInputError, UsageError
from model.metrics.extractors.base import Instrument
from model.metrics.extractors.catalogue import kind_of, open_instrument
from stages.fetch.weights import LOCK, Entry, ensure, entry_of
from stages.measuring.settings import OnMissing

ROLES = {  # setting -> roles of the networks that can stand there
    "style": ("features", "patches"),
    "likeness": ("attributes", "features", "patches", "distance", "identity"),
    "diversity": ("features", "patches", "distance"),
}
# setting and role of a network -> what is not measured without it
METRICS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "style": {"features": ("fid", "kid_x1e3", "precision", "nn_ratio")},
    "likeness": {
        "attributes": ("landmark_nme", "attribute_mse"), "features": ("cos", "retrieval_top1"),
        "patches": ("cos", "retrieval_top1", "selfsim"), "distance": ("lpips",),
        "identity": ("arcface_cos", "face_detect_rate"),
    },
    "diversity": {"features": ("variety", "intra_distance", "ppl"), "distance": ("intra_lpips", "variety", "ppl")},
}  # fmt: skip
EXPECTED = (  # what readers look for: setting, network
    ("style", "inception"), ("style", "dinov2_l14"), ("likeness", "dinov2_b14"), ("likeness", "lpips_vgg"),
    ("likeness", "arcface"), ("diversity", "lpips_vgg"),
)  # fmt: skip
Reasons = list[dict[str, str]]  # metric, reason


@dataclass(frozen=True)
class Asked:
    """Which networks a stage wants, by setting of section ``evaluate``."""

    params: Path  # the params file, for messages
    names: Mapping[str, tuple[str, ...]]  # style, likeness, diversity -> names of the catalogue
    on_missing: OnMissing
    again: tuple[str, ...]  # DVC's names of the stages to run again once a missing network is here

    def __post_init__(self) -> None:
        """Refuse unknown names, networks that cannot measure what they are asked for, and an empty or doubled list."""
        for setting, names in self.names.items():
            where = f"{self.params}: evaluate.{setting}"
            if len(set(names)) < len(names):
                raise UsageError(f"{where}: {list(names)} names a network twice; remove one")
            for name in names:
                if (role := kind_of(name).role) not in ROLES[setting]:
                    raise UsageError(
                        f"{where}: {name} measures {role}, expected one of {', '.join(ROLES[setting])}; name another"
                    )
        if not self.names["style"]:
            raise UsageError(
                f"{self.params}: evaluate.style: empty, expected at least one network; the first one ranks"
            )


@dataclass(frozen=True)
class Present:
    """What of it is here."""

    names: dict[str, tuple[str, ...]]  # as Asked.names, without those whose weights are missing
    not_run: Reasons


@dataclass(frozen=True)
class Opened:
    """Measuring networks, each loaded once whatever it is used for."""

    by_name: dict[str, Any]  # name of the catalogue -> what open_instrument returned
    names: dict[str, tuple[str, ...]]

    def of(self, setting: str) -> dict[str, Any]:
        """Return the networks of a setting by name, in its order."""
        return {name: self.by_name[name] for name in self.names[setting]}

    def listed(self) -> list[dict[str, str]]:
        """Return name, hash, preprocessing and use of each, for metrics.json."""
        return [
            {
                "name": one.name, "sha256": one.weights_sha256, "preprocess": one.preprocess_id, "role": setting,
                "kind": name,
            }
            for setting in self.names
            for name, one in self.of(setting).items()
        ]  # fmt: skip


def look_for(asked: Asked, lock: Path = LOCK) -> Present:
    """Look for the weights of every network, without opening or fetching any.

    Raises: MissingInputError naming every missing file, what needs it and how to get it, if ``on_missing`` is error or
        the network that ranks is among them.
    """
    missing = {name: _missing(name, lock) for names in asked.names.values() for name in names}
    missing = {name: entries for name, entries in missing.items() if entries}
    fatal = {asked.names["style"][0]} & set(missing) if asked.on_missing == "skip" else set(missing)
    if fatal:
        lines = [_line(asked, name, missing[name], lock) for name in missing if name in fatal]
        ranks = " (the first of evaluate.style ranks, so it is not skipped)" if asked.on_missing == "skip" else ""
        raise MissingInputError("; ".join(lines) + ranks)
    names = {setting: tuple(name for name in every if name not in missing) for setting, every in asked.names.items()}
    skipped = [
        (setting, name, f"{_needs(missing[name], lock)}; {_remedy(missing[name])}, then {_rerun(asked)}")
        for setting, every in asked.names.items()
        for name in every
        if name in missing
    ]
    return Present(names, _reasons(skipped) + _unasked(asked))


def open_all(present: Present, lock: Path = LOCK) -> Opened:
    """Check and load the networks.

    Raises: CorruptInputError for a file that is not the one of the lock; whatever their openers raise.
    """
    by_name: dict[str, Instrument] = {}
    for name in dict.fromkeys(name for names in present.names.values() for name in names):
        weights = {need: ensure(need, lock) for need in kind_of(name).needs}  # they are here: nothing is fetched
        by_name[name] = open_instrument(name, weights)
    return Opened(by_name, present.names)


def left_out(setting: str, names: Iterable[str], reason: str) -> Reasons:
    """Return one entry for every metric that networks of a setting would have measured."""
    return _reasons((setting, name, reason) for name in names)


def _missing(name: str, lock: Path) -> dict[str, Entry]:
    needed = {need: entry_of(need, lock) for need in kind_of(name).needs}
    return {need: entry for need, entry in needed.items() if not (lock.parent / entry.file).is_file()}


def _line(asked: Asked, name: str, entries: Mapping[str, Entry], lock: Path) -> str:
    settings = [setting for setting, names in asked.names.items() if name in names]
    metrics = _metrics(settings[0], name)[0]
    drop = " and ".join(f"evaluate.{setting}" for setting in settings)
    return f"{metrics} needs {_needs(entries, lock)}: {_remedy(entries)}, or drop {name} from {drop} in {asked.params}"


def _needs(entries: Mapping[str, Entry], lock: Path) -> str:
    files = [
        f"{need}{'' if entry.bytes is None else f' ({entry.bytes / 1e6:.3g} MB)'}" for need, entry in entries.items()
    ]
    paths = ", ".join(str(lock.parent / entry.file) for entry in entries.values())
    return f"{' and '.join(files)}, which {'is' if len(files) == 1 else 'are'} not here ({paths})"


def _remedy(entries: Mapping[str, Entry]) -> str:
    imports = " and ".join(f"`cartoon-pipeline weights import {need} FILE`" for need in entries)
    fetch = f"run `cartoon-pipeline weights fetch {' '.join(entries)}` where there is internet"
    return f"{fetch}, or copy the file{'' if len(entries) == 1 else 's'} and run {imports}"


def _rerun(asked: Asked) -> str:
    return " and ".join(f"`dvc repro --single-item --force {stage}`" for stage in asked.again)


def _metrics(setting: str, name: str) -> list[str]:
    role = kind_of(name).role
    uses = METRICS[setting]
    return [f"{family}[{name}]" for family in uses.get(role, uses.get("features", ()))]


def _reasons(skipped: Iterable[tuple[str, str, str]]) -> Reasons:
    return [
        {"metric": metric, "reason": reason} for setting, name, reason in skipped for metric in _metrics(setting, name)
    ]


def _unasked(asked: Asked) -> Reasons:
    """List what readers look for and the params file does not ask for."""
    absent: Sequence[tuple[str, str]] = [
        (setting, name) for setting, name in EXPECTED if setting in asked.names and name not in asked.names[setting]
    ]
    return [
        {"metric": _metrics(setting, name)[0], "reason": f"not asked for in evaluate.{setting}"}
        for setting, name in absent
    ]
