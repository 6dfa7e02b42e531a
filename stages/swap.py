"""DVC stage ``swap``: put the source's coarse layers into snapshots of a training, at every level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from model.blend import swap_layers, sweep_features
from model.checkpoint.native import load_generator, read_header, save_networks
from model.data.images import UInt8, to_uint8, write_png
from model.data.sheets import sheet, stack
from model.errors import CorruptInputError, UsageError
from model.files import publish_folder, verify_manifest
from model.latents.truncation import truncate
from model.networks.generator import Generator
from model.progress import track
from model.training.randomness import latents
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage


@dataclass(frozen=True)
class SwapParams:
    """Section ``swap``."""

    levels: tuple[int, ...]  # px: blocks up to this size come from the source
    snapshots: tuple[Literal["kept", "best", "last"] | float, ...]  # kimg = the nearest one; the first is the main one
    faces: int  # on the contact sheet
    truncation_psi: float  # of the contact sheet only
    seed: int  # of its faces


@dataclass(frozen=True)
class Take:
    """A snapshot that was asked for, and the one that it is; several names may mean the same one."""

    name: str  # kept, best, last, 10_kimg
    kimg: float
    file: str  # in the folder of the training
    folder: str  # of its blends; empty where a single snapshot was asked for


def swap(params: Path, source: Path, trained: Path, out: Path, run: Run) -> None:
    """Blend --source and snapshots of --trained at every level; write generators and a contact sheet to --out."""
    settings = read_section(params, "swap", SwapParams)
    details = verify_manifest(trained)
    takes = _takes(params, settings, trained, details)
    ours = load_generator(source / "networks.safetensors")
    allowed = ours.config.resolutions[:-1]
    for level in settings.levels:
        if level not in allowed:
            raise UsageError(f"{params}: swap.levels: found {level} px, expected some of {list(allowed)}")
    kept = {name: details[name] for name in ("method", "dataset", "seed", "techniques")}
    sheets = []
    manifest = kept | {"levels": list(settings.levels), "snapshots": [asdict(take) for take in takes]}
    with publish_folder(out, manifest) as folder:
        for take in track([take for take in takes if take.folder in ("", take.name)], "swap"):
            theirs = load_generator(trained / take.file)
            parents = [read_header(path).sha256 for path in (source / "networks.safetensors", trained / take.file)]
            blends = {level: swap_layers(ours, theirs, at=level) for level in settings.levels}
            for level, blend in blends.items():
                made = {"blend": "swap_layers", "at": level, "low": "source", "kimg": take.kimg}
                provenance = made | {"parents": dict(zip(("source", "trained"), parents, strict=True))}
                path = folder / take.folder / f"weights-{level}.safetensors"
                save_networks(path, generator=blend, provenance=provenance)
            sheets.append(_sheet(settings, (ours, theirs), blends, _title(kept, takes, take)))
        write_png(folder / "sheet.png", stack(sheets))
    run.log_image("swap", out / "sheet.png")
    run.log_params({"levels": list(settings.levels), "snapshots": {take.name: take.kimg for take in takes}})


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
    return f"{kept['method']} on {kept['dataset']}{which}: source layers up to ... px, then the tuned ones"


@torch.no_grad()
def _sheet(settings: SwapParams, pair: tuple[Generator, Generator], blends: dict[int, Generator], title: str) -> UInt8:
    """Draw the same faces by the source, every blend, every injection of features and the tuned generator."""
    source, target = pair
    z = latents(settings.seed, "sheet", 0, settings.faces, source.config.z_dim)
    ws = truncate(source.broadcast(source.mapping(z)), source.w_avg, settings.truncation_psi)
    noise = source.synthesis.const_noise()
    down = sorted(blends, reverse=True)
    injected = sweep_features(source, target, ws, ws, noise, down, "source")
    columns = {"source": source.synthesis(ws, noise)}
    columns |= {f"weights\nto {level} px": blends[level].synthesis(ws, noise) for level in down}
    columns |= {f"features\nto {level} px": injected[level] for level in down}
    columns["tuned"] = target.synthesis(ws, noise)
    tiles = [to_uint8(images) for images in columns.values()]
    rows = [[column[face] for column in tiles] for face in range(settings.faces)]
    return sheet(rows, [], list(columns), title, scale=max(1, 128 // source.config.resolution))


if __name__ == "__main__":
    run_stage(swap)
