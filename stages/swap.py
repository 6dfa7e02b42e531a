"""DVC stage ``swap``: mix the source with snapshots of a training, in every way asked for, at every level."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from model.blend.kinds import FeatureExchange, Kind, Schedule, WeightExchange, levels_of, other
from model.blend.sweep import Sweep, picture, whole
from model.blend.weights import mix_weights
from model.checkpoint.native import load_generator, read_header, save_networks
from model.data.images import UInt8, to_uint8, write_png
from model.data.sheets import fit, sheet, stack
from model.errors import CorruptInputError, UsageError
from model.files import publish_folder, verify_manifest
from model.latents.truncation import truncate
from model.networks.generator import Generator
from model.progress import track
from model.training.randomness import latents
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage

TILE = 128  # px on the contact sheet: smaller pictures are enlarged by whole numbers, larger ones reduced
RESERVED = ("none", "source")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class SwapParams:
    """Section ``swap``."""

    levels: tuple[int, ...]  # px: blocks up to this size come from one generator, those above from the other
    snapshots: tuple[Literal["kept", "best", "last"] | float, ...]  # kimg = the nearest one; the first is the main one
    kinds: dict[str, Kind]  # ways to mix, each at every level; the keys name files and rows
    faces: int  # on the contact sheet
    truncation_psi: float  # of the contact sheet only
    seed: int  # of its faces

    def __post_init__(self) -> None:
        """Refuse names that cannot name files, or mean something else already; ValueError."""
        if not self.kinds:
            raise ValueError("kinds: found none, expected at least one")
        for name in self.kinds:
            if name in RESERVED or not _NAME.fullmatch(name):
                raise ValueError(
                    f"kinds: found the name {name!r}, expected letters, digits, _ and -, at most 40, and none of "
                    f"{', '.join(RESERVED)}, which mean the tuned and the source generator themselves"
                )


@dataclass(frozen=True)
class Take:
    """A snapshot that was asked for, and the one that it is; several names may mean the same one."""

    name: str  # kept, best, last, 10_kimg
    kimg: float
    file: str  # in the folder of the training
    folder: str  # of its blends; empty where a single snapshot was asked for


def swap(params: Path, source: Path, trained: Path, out: Path, run: Run) -> None:
    """Mix --source and snapshots of --trained at every level; write blended generators and a contact sheet to --out."""
    settings = read_section(params, "swap", SwapParams)
    details = verify_manifest(trained)
    takes = _takes(params, settings, trained, details)
    ours = load_generator(source / "networks.safetensors")
    _check(params, settings, ours.config.resolutions)
    kept = {name: details[name] for name in ("method", "dataset", "seed", "techniques")}
    kinds = [{"name": name, "settings": asdict(kind)} for name, kind in settings.kinds.items()]  # in their order
    sheets = []
    manifest = kept | {"levels": list(settings.levels), "kinds": kinds, "snapshots": [asdict(take) for take in takes]}
    with publish_folder(out, manifest) as folder:
        for take in track([take for take in takes if take.folder in ("", take.name)], "swap"):
            theirs = load_generator(trained / take.file)
            parents = [read_header(path).sha256 for path in (source / "networks.safetensors", trained / take.file)]
            made = {"kimg": take.kimg, "parents": dict(zip(("source", "target"), parents, strict=True))}
            mixed = _save_blends(settings, (ours, theirs), folder / take.folder, made)
            sheets += _sheets(settings, Sweep(ours, theirs, mixed), _title(kept, takes, take))
        write_png(folder / "sheet.png", stack(sheets))
    run.log_image("swap", out / "sheet.png")
    run.log_params(
        {"levels": list(settings.levels), "kinds": kinds, "snapshots": {one.name: one.kimg for one in takes}}
    )


def blend_file(kind: str, level: int) -> str:
    """Return the name of a blended generator's file, in the folder of its snapshot."""
    return f"{kind}-{level}.safetensors"


def _check(params: Path, settings: SwapParams, resolutions: Sequence[int]) -> None:
    """Refuse levels and schedules that do not fit the generators."""
    allowed = list(resolutions[:-1])
    for index, level in enumerate(settings.levels):
        if level not in allowed or level in settings.levels[:index]:
            raise UsageError(f"{params}: swap.levels: found {level} px, expected some of {allowed}, each once")
    for name, kind in settings.kinds.items():
        if isinstance(kind, Schedule):
            try:
                kind.blend(0, resolutions)
            except ValueError as error:
                raise UsageError(f"{params}: swap.kinds.{name}.{error}") from error


def _save_blends(
    settings: SwapParams, pair: tuple[Generator, Generator], folder: Path, made: Mapping[str, Any]
) -> dict[tuple[int, float], Generator]:
    """Write every blended generator; return those with blocks that neither parent has, by these."""
    mixed: dict[tuple[int, float], Generator] = {}
    for name, kind in settings.kinds.items():
        for at in levels_of(kind, settings.levels):
            if isinstance(kind, FeatureExchange):
                continue
            blend = kind.blend(at, pair[0].config.resolutions)
            generator = mix_weights(*pair, blend)
            provenance = {"blend": name, **asdict(kind), "at": at, **made}
            save_networks(folder / blend_file(name, at), generator=generator, provenance=provenance)
            mixed |= dict.fromkeys(blend.mixed, generator)
    return mixed


def _takes(params: Path, settings: SwapParams, trained: Path, details: Mapping[str, Any]) -> list[Take]:
    """Find the snapshot that each name or number of ``swap.snapshots`` means, in that order."""
    asked = dict.fromkeys(settings.snapshots)
    if not asked or any(isinstance(one, float) and one <= 0 for one in asked):
        raise UsageError(
            f"{params}: swap.snapshots: found {list(asked)}, expected at least one of kept, best, last or a number of "
            "kimg above 0"
        )
    if "snapshots" not in details:
        raise CorruptInputError(f"{trained}: made before trainings kept snapshots; train again (dvc repro)")
    files = {one["kimg"]: one["file"] for one in details["snapshots"]}
    named = {"kept": details["kept"]["kimg"], "best": details["best"], "last": details["last"]}
    takes: list[Take] = []
    for one in asked:
        kimg = named[one] if isinstance(one, str) else min(files, key=lambda taken: abs(taken - one))
        name = one if isinstance(one, str) else f"{one:g}_kimg"
        same = next((take.folder for take in takes if take.kimg == kimg), name)
        takes.append(Take(name, kimg, files[kimg], same if len(asked) > 1 else ""))
    return takes


def _title(kept: Mapping[str, str], takes: Sequence[Take], take: Take) -> str:
    names = " = ".join(other.name.replace("_", " ") for other in takes if other.folder == take.folder)
    which = f", {names} ({take.kimg:.3g} kimg)" if len(takes) > 1 else ""
    return f"{kept['method']} on {kept['dataset']}{which}"


@torch.no_grad()
def _sheets(settings: SwapParams, sweep: Sweep, title: str) -> list[UInt8]:
    """Draw the same faces in every way, one sheet per kind: a ladder from the source down to the tuned generator."""
    source, resolutions = sweep.source, sweep.resolutions
    ladders = _ladders(settings)
    ends = [whole(side, "source", resolutions) for side in ("source", "target")]
    steps = [picture(settings.kinds[kind], at, resolutions, "source") for _, rows in ladders for kind, at, _ in rows]
    z = latents(settings.seed, "sheet", 0, settings.faces, source.config.z_dim)
    ws = truncate(source.broadcast(source.mapping(z)), source.w_avg, settings.truncation_psi)
    drawn = sweep.draw([*ends, *steps], {"source": ws, "target": ws}, source.synthesis.const_noise())
    tiles = ([fit(face, TILE) for face in to_uint8(images)] for images in drawn)
    first, last = next(tiles), next(tiles)
    sheets = []
    for words, rows in ladders:
        between = [next(tiles) for _ in rows]
        labels = ["source", *(label for *_, label in rows), "tuned"]
        scale = max(1, TILE // source.config.resolution)
        sheets.append(sheet([first, *between, last], labels, [], f"{title}. {words}", scale=scale))
    return sheets


def _ladders(settings: SwapParams) -> list[tuple[str, list[tuple[str, int, str]]]]:
    """Return per sheet its words and its rows (kind, level, label); all schedules are on one."""
    ladders = []
    planned = []
    for name, kind in settings.kinds.items():
        if isinstance(kind, Schedule):
            shares = sorted((int(r), f"{r} px {share:g}") for r, share in kind.shares.items())
            pairs = [", ".join(text for _, text in shares[start : start + 2]) for start in range(0, len(shares), 2)]
            planned.append((name, 0, "\n".join([name, *pairs])))
        else:
            rising = kind.low == "target"  # the level at which the source draws most stands next to the source
            levels = sorted(settings.levels, reverse=not rising)
            ladders.append((f"{name}: {_words(kind)}", [(name, at, f"to {at} px") for at in levels]))
    return ladders + ([("Schedules: the tuned generator's share in every block", planned)] if planned else [])


def _words(kind: WeightExchange | FeatureExchange) -> str:
    """Say what is mixed up to a level and above it."""
    names = {"source": "source", "target": "tuned"}
    low, high = names[kind.low], names[other(kind.low)]
    if isinstance(kind, FeatureExchange):
        return f"{low} draws up to ... px, {high} goes on, RGB of {names[kind.rgb_skip]}"
    fade = "" if kind.width is None else f", a fade of width {kind.width:g}"
    return f"weights of {low} up to ... px, of {high} above{fade}"


if __name__ == "__main__":
    run_stage(swap)
