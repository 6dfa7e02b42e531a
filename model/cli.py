"""The command ``cartoon``: convert weights, generate pictures, look into weight files."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import ResourceError, UsageError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from model.networks.discriminator import Discriminator
    from model.networks.generator import Generator

BATCH = 8  # images at a time; pictures do not depend on it
COLUMNS = 8  # on a contact sheet
NATIVE, FOREIGN = ".safetensors", ".pt"
PSI = 0.7  # of seeds; latents from a file are taken as they are


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except UserError as error:
        sys.stderr.write(f"cartoon {args.command}: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"cartoon {args.command}: {error}; check the path, the free space and your rights there\n")
        return ResourceError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"cartoon {args.command}: stopped; files already named were written whole\n")
        return 130
    return 0


def convert(args: argparse.Namespace) -> None:
    """Convert weights between rosinality ``.pt`` and the native format, by suffix."""
    source, target = args.source, args.target
    if {source.suffix, target.suffix} != {NATIVE, FOREIGN}:
        raise UsageError(
            f"{source} to {target}: expected one name ending in {FOREIGN} (rosinality) and one in {NATIVE} (native)"
        )
    if target.exists() and not args.force:
        raise UsageError(f"{target}: exists; name another file, or add --force to replace it")
    generator, discriminator, provenance = _networks(source, args.which)
    if target.suffix == NATIVE:
        from model.checkpoint.native import save_networks

        digest = save_networks(target, generator=generator, discriminator=discriminator, provenance=provenance)
    else:
        from model.checkpoint.rosinality import write_rosinality

        digest = write_rosinality(target, generator, discriminator)
    parts = "generator and discriminator" if discriminator is not None else "generator (no discriminator)"
    sys.stdout.write(f"{target}: {generator.config.resolution} px {parts}, sha256 {digest}\n")


def generate(args: argparse.Namespace) -> None:
    """Draw pictures from seeds or latents: raw numbers, single files or a contact sheet."""
    from model.files import atomic_write
    from model.latents.sampling import parse_seeds

    if args.raw is None and args.out is None:
        raise UsageError("nothing to write: give --raw OUT.npy, --out DIR or --out SHEET.png")
    if args.raw is not None and args.raw.suffix != ".npy":
        raise UsageError(f"--raw {args.raw}: expected a name ending in .npy")
    if args.space != "z" and args.latents is None:
        raise UsageError(f"--space {args.space}: needs --latents FILE.npy; seeds give z")
    seeds = parse_seeds(args.seeds)
    generator = _networks(args.weights, "g_ema", device=_device(args.device))[0]
    ws, names = _styles(args, generator, seeds)
    pictures = _written(args.out, names, _drawn(generator, ws, args.noise, seeds))
    if args.raw is None:
        for _ in pictures:
            pass
    else:
        size = generator.config.resolution
        atomic_write(args.raw, lambda file: _write_npy(file, (len(names), 3, size, size), pictures))
    written = " and ".join(str(path) for path in (args.raw, args.out) if path is not None)
    sys.stdout.write(f"{written}: {len(names)} images of {generator.config.resolution} px\n")


def info(args: argparse.Namespace) -> None:
    """Say what a weight file holds: architecture, parameter counts, provenance, sha256."""
    from model.checkpoint.native import read_header
    from model.networks.counts import count_parameters

    path = args.weights
    if path.suffix == FOREIGN:
        generator, discriminator, provenance = _networks(path, "g_ema")
        digest = provenance["sha256"]
        configs = {"generator": generator.config, "discriminator": None if discriminator is None else discriminator.config}
    else:
        header = read_header(path)
        digest, provenance = header.sha256, header.provenance
        configs = {"generator": header.generator, "discriminator": header.discriminator}
    facts: dict[str, Any] = {"file": str(path), "sha256": digest, "provenance": provenance}
    for part, config in configs.items():
        if config is not None:
            channels = {str(r): config.channels(r) for r in (4, *config.resolutions[1:])}
            facts[part] = asdict(config) | {"parameters": count_parameters(config)}
    if args.json:
        sys.stdout.write(json.dumps(facts, indent=2, sort_keys=True) + "\n")
        return
    sys.stdout.write(_described(facts))
