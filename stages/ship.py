"""DVC stage ``ship`` of the assets profile: put trained weights where the project ships them."""

from __future__ import annotations

import shutil
from pathlib import Path

from model.checkpoint.native import load_discriminator, load_generator, read_header, save_networks
from model.files import MANIFEST, atomic_write_json, verify_manifest, write_manifest
from stages.entry import run


def ship(source: Path, probes: Path, name: str, assets: Path, out: Path) -> None:
    """Copy the source networks (as --name) and the measuring networks into --assets; list them in --out."""
    provenance = read_header(source / "generator.safetensors").provenance
    generator = load_generator(source / "generator.safetensors")
    discriminator = load_discriminator(source / "discriminator.safetensors")
    assets.mkdir(parents=True, exist_ok=True)
    weights = assets / f"{name}.safetensors"
    save_networks(weights, generator=generator, discriminator=discriminator, provenance=provenance)
    for path in sorted(probes.iterdir()):
        if path.name != MANIFEST:
            shutil.copyfile(path, assets / path.name)
    write_manifest(assets)
    atomic_write_json(out, verify_manifest(assets)["files"])


if __name__ == "__main__":
    run(ship)
