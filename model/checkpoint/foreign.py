"""Weights of any format that can be read, by the name's ending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.checkpoint.native import load_discriminator, load_generator, read_header
from model.checkpoint.nvidia import read_nvidia
from model.checkpoint.rosinality import Which, read_rosinality
from model.errors import UsageError
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator

NATIVE = ".safetensors"
READERS = {".pt": read_rosinality, ".pkl": read_nvidia}
ENDINGS = f"{NATIVE}, .pt (rosinality) or .pkl (NVIDIA)"


def read_networks(path: Path, which: Which = "g_ema") -> tuple[Generator, Discriminator | None, dict[str, Any]]:
    """Read weights: ``.safetensors``, rosinality's ``.pt`` or NVIDIA's ``.pkl``.

    Args:
        path: the file.
        which: averaged or raw generator, where a file has both.

    Returns: generator, discriminator (None when the file has none), provenance.
    Raises: UsageError for another ending; what the reader of the format raises.
    """
    if path.suffix == NATIVE:
        generator, header = load_generator(path), read_header(path)
        return generator, load_discriminator(path) if header.discriminator else None, header.provenance
    if path.suffix not in READERS:
        raise UsageError(f"{path}: expected a name ending in {ENDINGS}")
    return READERS[path.suffix](path, which)
