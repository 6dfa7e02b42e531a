"""``cartoon blend``: a generator file from the weights of two."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import UsageError

if TYPE_CHECKING:
    from model.blend.kinds import Schedule, Side, WeightExchange
    from model.networks.generator import Generator

NATIVE = ".safetensors"
EXAMPLE = "4=0,8=0.25,16=0.6,32=1"


def blend(args: argparse.Namespace) -> None:
    """Mix the weights of a generator with those of one tuned from it, and say in the file how."""
    from model.blend.kinds import Schedule
    from model.blend.weights import check_pair, mix_weights
    from model.checkpoint.native import save_networks

    kind = _kind(args)
    if args.out.suffix != NATIVE:
        raise UsageError(f"--out {args.out}: expected a name ending in {NATIVE}")
    if args.out.exists() and not args.force:
        raise UsageError(f"{args.out}: exists; name another file, or add --force to replace it")
    (source, ours), (target, theirs) = _read(args.source), _read(args.target)
    try:
        check_pair(source, target)
    except ValueError as error:
        raise UsageError(f"{args.source} and {args.target}: {error}") from error
    at = 0 if isinstance(kind, Schedule) else args.at
    try:
        made_of = kind.blend(at, source.config.resolutions)
    except ValueError as error:
        where = f"--schedule {args.schedule}: " if isinstance(kind, Schedule) else "--"
        raise UsageError(f"{where}{error}") from error
    provenance = {"blend": "cartoon blend", **asdict(kind), "at": at, "parents": {"source": ours, "target": theirs}}
    digest = save_networks(args.out, generator=mix_weights(source, target, made_of), provenance=provenance)
    shares = ", ".join(f"{r} px {share:.3g}" for r, share in made_of.blocks.items())
    sys.stdout.write(
        f"{args.out}: {source.config.resolution} px generator, sha256 {digest}\n"
        f"share of {args.target.name}: {shares}; mapping network of the {made_of.mapping}\n"
    )


def add_blend(command: argparse.ArgumentParser, readable: str) -> None:
    """Describe the command's arguments; ``readable`` names the formats that can be read."""
    command.add_argument("--source", type=Path, required=True, help=f"the generator that was tuned from: {readable}")
    command.add_argument("--target", type=Path, required=True, help="the tuned generator")
    how = command.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--at", type=int, metavar="PX", help="blocks up to this size from --low, those above from the other"
    )
    how.add_argument("--schedule", metavar="PX=SHARE,...", help=f"the target's share in every block, as in {EXAMPLE}")
    command.add_argument("--low", choices=("source", "target"), help="whose coarse blocks, with --at (default source)")
    command.add_argument("--width", type=float, help="with --at: fade over about so many doublings of the resolution")
    command.add_argument(
        "--mapping",
        choices=("low", "high", "source", "target"),
        help="whose mapping network (default: with --at that of the coarse blocks, with --schedule the source's)",
    )
    command.add_argument("--out", type=Path, required=True, metavar=f"FILE{NATIVE}", help="where to write it")
    command.add_argument("--force", action="store_true", help="replace FILE")
    command.set_defaults(run=blend)


def _kind(args: argparse.Namespace) -> WeightExchange | Schedule:
    from model.blend.kinds import Schedule, WeightExchange

    if args.schedule is None:
        try:
            return WeightExchange("weights", args.low or "source", args.width, args.mapping or "low")
        except ValueError as error:
            raise UsageError(f"--{error}") from error
    for name in ("low", "width"):
        if getattr(args, name) is not None:
            raise UsageError(f"--{name}: goes with --at; a schedule gives every block its share")
    if args.mapping in ("low", "high"):
        raise UsageError(f"--mapping {args.mapping}: a schedule has no coarse and fine side, expected source or target")
    mapping: Side = "target" if args.mapping == "target" else "source"
    try:
        return Schedule("schedule", _shares(args.schedule), mapping)
    except ValueError as error:
        raise UsageError(f"--schedule {args.schedule}: {error}") from error


def _shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.partition("="))
        if name in shares:
            raise ValueError(f"the block of {name} px is named twice")
        try:
            shares[name] = float(share)
        except ValueError as error:
            raise ValueError(f"found {part!r}, expected PX=SHARE,... as in {EXAMPLE}") from error
    return shares


def _read(path: Path) -> tuple[Generator, str]:
    """Return the generator of a file and the file's sha256."""
    from model.checkpoint.foreign import read_networks
    from model.checkpoint.native import read_header

    generator, _, provenance = read_networks(path)
    found: Any = read_header(path).sha256 if path.suffix == NATIVE else provenance["sha256"]
    return generator, str(found)
