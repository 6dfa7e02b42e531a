"""The command ``cartoon``: convert and blend weights, generate pictures, look into weight files."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from model.cli_blend import add_blend
from model.errors import ResourceError, UsageError, UserError
from model.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from model.latents.sampling import NoiseKind
    from model.networks.discriminator import DiscriminatorConfig
    from model.networks.generator import Generator, GeneratorConfig

BATCH = 8  # images at a time; pictures do not depend on it
COLUMNS = 8  # on a contact sheet
TILE = 128  # px, smaller pictures are enlarged on it by whole numbers
NATIVE, ROSINALITY, NVIDIA = ".safetensors", ".pt", ".pkl"
WEIGHTS = f"{NATIVE}, {ROSINALITY} (rosinality) or {NVIDIA} (NVIDIA)"
SEEDS = "0-15"
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
    """Convert weights between ours, ``.pt`` of rosinality and ``.pkl`` of NVIDIA (reading only), by name."""
    from model.checkpoint.foreign import read_networks

    source, target = args.source, args.target
    if source.suffix not in (NATIVE, ROSINALITY, NVIDIA) or target.suffix not in (NATIVE, ROSINALITY):
        raise UsageError(f"{source} to {target}: expected {WEIGHTS}, to {NATIVE} or {ROSINALITY}")
    if source.suffix == target.suffix:
        raise UsageError(f"{source} to {target}: expected another format; to have the same one, copy the file")
    if target.exists() and not args.force:
        raise UsageError(f"{target}: exists; name another file, or add --force to replace it")
    generator, discriminator, provenance = read_networks(source, args.which)
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
    from model.checkpoint.foreign import read_networks
    from model.files import atomic_write

    if args.raw is None and args.out is None:
        raise UsageError("nothing to write: give --raw OUT.npy, --out DIR or --out SHEET.png")
    if args.raw is not None and args.raw.suffix != ".npy":
        raise UsageError(f"--raw {args.raw}: expected a name ending in .npy")
    if args.space != "z" and args.latents is None:
        raise UsageError(f"--space {args.space}: needs --latents FILE.npy; seeds give z")
    if args.seeds is not None and args.latents is not None:
        raise UsageError("--seeds and --latents: found both, expected one of them")
    generator = read_networks(args.weights)[0].to(_device(args.device))
    ws, numbers = _source_of_ws(args, generator)
    kind = "seed" if args.latents is None else "latent"
    pictures = _pictures(args.out, kind, numbers, _drawn(generator, ws, args.noise, numbers))
    size = generator.config.resolution
    if args.raw is not None:
        atomic_write(args.raw, lambda file: _write_npy(file, (len(numbers), 3, size, size), pictures))
    else:
        for _ in pictures:  # each batch is written as it is drawn
            pass
    written = " and ".join(str(path) for path in (args.raw, args.out) if path is not None)
    sys.stdout.write(f"{written}: {len(numbers)} images of {size} px\n")


def info(args: argparse.Namespace) -> None:
    """Say what a weight file holds: architecture, parameter counts, provenance, sha256."""
    from model.checkpoint.foreign import read_networks
    from model.checkpoint.native import read_header

    path = args.weights
    if path.suffix != NATIVE:
        generator, discriminator, provenance = read_networks(path)
        digest = provenance["sha256"]
        configs: tuple[Any, ...] = (generator.config, None if discriminator is None else discriminator.config)
    else:
        header = read_header(path)
        digest, provenance, configs = header.sha256, header.provenance, (header.generator, header.discriminator)
    facts = {"file": str(path), "sha256": digest}
    facts |= {
        name: _facts(config) for name, config in zip(("generator", "discriminator"), configs, strict=True) if config
    }
    facts["provenance"] = provenance
    sys.stdout.write(json.dumps(facts, indent=2) + "\n" if args.json else _table(facts))


def _source_of_ws(args: argparse.Namespace, generator: Generator) -> tuple[Tensor, list[int]]:
    """Return truncated style vectors, and a number per image: its seed, or its row in the file."""
    from model.latents.sampling import parse_seeds, read_latents, seeded_z, to_ws
    from model.latents.truncation import truncate

    if args.latents is None:
        numbers = parse_seeds(args.seeds or SEEDS)
        ws = to_ws(generator, seeded_z(numbers, generator.config.z_dim), "z")
    else:
        ws = to_ws(generator, read_latents(args.latents, args.space, generator), args.space)
        numbers = list(range(len(ws)))
    psi = args.psi if args.psi is not None else PSI if args.latents is None else 1.0
    return truncate(ws, generator.w_avg, psi), numbers


def _drawn(generator: Generator, ws: Tensor, kind: NoiseKind, numbers: Sequence[int]) -> Iterator[Tensor]:
    """Yield images ``[N, 3, R, R]`` on the CPU, batch by batch, with progress."""
    import torch

    from model.latents.sampling import noise_maps

    with Progress("generate", len(numbers), "images") as progress, torch.no_grad():
        for start in range(0, len(numbers), BATCH):
            part = slice(start, start + BATCH)
            images = generator.synthesis(ws[part], noise_maps(generator, kind, numbers[part])).float().cpu()
            yield images
            progress.update(len(images))


def _pictures(out: Path | None, kind: str, numbers: Sequence[int], batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """Pass the batches on while writing them to a folder, or in the end to a contact sheet."""
    from model.data.images import to_uint8, write_png
    from model.data.sheets import sheet

    tiles = []
    left = iter(numbers)
    for images in batches:
        if out is not None:
            for picture, number in zip(to_uint8(images), islice(left, len(images)), strict=True):
                if out.suffix == ".png":
                    tiles.append(picture)
                else:
                    write_png(out / f"{kind}{number:04d}.png", picture)
        yield images
    if tiles and out is not None:
        starts = range(0, len(tiles), COLUMNS)
        captions = [[str(number) for number in numbers[start : start + COLUMNS]] for start in starts]
        scale = max(1, TILE // tiles[0].shape[0])
        write_png(out, sheet([tiles[start : start + COLUMNS] for start in starts], [], [], f"{kind}s", captions, scale))


def _write_npy(file: BinaryIO, shape: tuple[int, ...], batches: Iterator[Tensor]) -> None:
    """Write float32 NCHW as ``.npy`` while the batches arrive."""
    import numpy as np

    header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for images in batches:
        file.write(images.contiguous().numpy().astype("<f4", copy=False).tobytes())


def _facts(config: GeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """Return a network's architecture, channels by px, and number of parameters."""
    from model.checkpoint.rosinality_keys import discriminator_entries, generator_entries
    from model.networks.generator import GeneratorConfig

    entries = generator_entries(config) if isinstance(config, GeneratorConfig) else discriminator_entries(config)
    channels = {str(size): config.channels(size) for size in (2**k for k in range(2, config.resolution.bit_length()))}
    return asdict(config) | {"channels": channels, "parameters": sum(math.prod(entry.shape) for entry in entries)}


def _table(facts: dict[str, Any]) -> str:
    lines = []
    for name, value in facts.items():
        if name == "provenance":
            lines.append("provenance     " + json.dumps(value, indent=2).replace("\n", "\n  "))
        elif isinstance(value, dict):
            channels = ", ".join(f"{size}: {count}" for size, count in value["channels"].items())
            lines.append(f"{name:<14} {value['resolution']} px, {value['parameters']:,} parameters")
            lines.append(f"{'':<14} channels by px: {channels}")
            if "z_dim" in value:
                widths = f"z {value['z_dim']}, w {value['w_dim']}, {value['mapping_layers']} mapping layers"
                lines.append(f"{'':<14} {widths}")
        else:
            lines.append(f"{name:<14} {value}")
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cartoon", description="Cartoon faces from fine-tuned StyleGAN2 generators.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_convert(
        commands.add_parser("convert", help="convert weights between .safetensors, rosinality .pt and NVIDIA .pkl")
    )
    _add_generate(commands.add_parser("generate", help="draw pictures from seeds or latents"))
    add_blend(commands.add_parser("blend", help="mix a generator with one tuned from it, by blocks"), WEIGHTS)
    looked = commands.add_parser("info", help="say what a weight file holds")
    looked.add_argument("weights", type=Path, help=WEIGHTS)
    looked.add_argument("--json", action="store_true", help="machine-readable")
    looked.set_defaults(run=info)
    return parser


def _add_convert(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", type=Path, metavar="SRC", help=WEIGHTS)
    command.add_argument("target", type=Path, metavar="DST", help=f"where to write them, {NATIVE} or {ROSINALITY}")
    command.add_argument(
        "--which", choices=("g_ema", "g"), default="g_ema", help="averaged (default) or raw generator of a foreign file"
    )
    command.add_argument("--force", action="store_true", help="replace DST")
    command.set_defaults(run=convert)


def _add_generate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--weights", type=Path, required=True, help=WEIGHTS)
    command.add_argument("--seeds", help=f"numbers and ranges, e.g. 3,7,20-22 (default {SEEDS})")
    command.add_argument("--latents", type=Path, help="latents instead of seeds: floats .npy, one row per image")
    command.add_argument("--space", choices=("z", "w", "w+"), default="z", help="of --latents (default z)")
    command.add_argument(
        "--psi", type=float, help=f"truncation: 1 off, 0 mean face (default {PSI} for seeds, 1 for latents)"
    )
    command.add_argument(
        "--noise",
        choices=("const", "random", "none"),
        default="const",
        help="stored maps (default), fresh ones, or none",
    )
    command.add_argument("--raw", type=Path, metavar="OUT.npy", help="float32 NCHW in the network's own range")
    command.add_argument("--out", type=Path, metavar="DIR|SHEET.png", help="a folder of PNGs, or one contact sheet")
    command.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: the GPU if there is one"
    )
    command.set_defaults(run=generate)


def _device(name: str) -> str:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError("--device cuda: no GPU that torch can use; leave it out or say --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


if __name__ == "__main__":
    sys.exit(main())
