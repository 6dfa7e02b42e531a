"""DVC stage ``swap``: put the source's coarse layers into a trained generator, at every level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from model.blend import swap_layers, sweep_features
from model.checkpoint.native import load_generator, read_header, save_networks
from model.data.images import UInt8, to_uint8, write_png
from model.data.sheets import sheet
from model.errors import UsageError
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
    faces: int  # on the contact sheet
    truncation_psi: float  # of the contact sheet only
    seed: int  # of its faces


def swap(params: Path, source: Path, trained: Path, out: Path, run: Run) -> None:
    """Blend --source and --trained at every level of --params; write generators and a contact sheet to --out."""
    settings = read_section(params, "swap", SwapParams)
    details = verify_manifest(trained)
    ours, theirs = load_generator(source / "networks.safetensors"), load_generator(trained / "generator.safetensors")
    allowed = theirs.config.resolutions[:-1]
    for level in settings.levels:
        if level not in allowed:
            raise UsageError(f"{params}: swap.levels: found {level} px, expected some of {list(allowed)}")
    parents = {
        "source": read_header(source / "networks.safetensors").sha256,
        "trained": read_header(trained / "generator.safetensors").sha256,
    }
    kept = {name: details[name] for name in ("method", "dataset", "seed", "techniques")}
    with publish_folder(out, kept | {"levels": list(settings.levels)}) as folder:
        blends = {}
        for level in track(settings.levels, "swap", len(settings.levels)):
            blends[level] = swap_layers(ours, theirs, at=level)
            provenance = {"blend": "swap_layers", "at": level, "low": "source", "parents": parents}
            save_networks(folder / f"weights-{level}.safetensors", generator=blends[level], provenance=provenance)
        title = f"{kept['method']} on {kept['dataset']}: source layers up to ... px, then the tuned ones"
        write_png(folder / "sheet.png", _sheet(settings, (ours, theirs), blends, title))
    run.log_image("swap", out / "sheet.png")
    run.log_params({"levels": list(settings.levels)})


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
