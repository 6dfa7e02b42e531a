"""Where style vectors come from: numbered seeds, each image a function of its own number alone, or a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from model.errors import CorruptInputError, MissingInputError, UsageError
from model.networks.generator import Generator, Noise

Space = Literal["z", "w", "w+"]
NoiseKind = Literal["const", "random", "none"]
_Z, _NOISE = 0, 1  # purposes: the second half of a stream's key


def parse_seeds(text: str) -> list[int]:
    """Read a list of seeds such as ``0-15`` or ``3,7,20-22``.

    Raises: UsageError naming the part that is no seed or no range.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first:
            raise UsageError(f"seeds: found {part.strip()!r}, expected numbers and ranges such as 0-15 or 3,7,20-22")
        if last - first >= 1_000_000:
            raise UsageError(f"seeds: {part.strip()!r} is more than a million images, expected a smaller range")
        seeds.extend(range(first, last + 1))
    return seeds


def seeded_z(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Draw z of numbered images.

    Args:
        seeds: one per image, 0 or more.
        z_dim: width of z.

    Returns: float32 ``[N, z_dim]``, standard normal; row i is a function of ``seeds[i]`` and ``z_dim`` alone.
    Source: Salmon et al. 2011 (Philox, counter-based random numbers).
    """
    return torch.from_numpy(np.stack([_stream(seed, _Z, 0).standard_normal(z_dim, np.float32) for seed in seeds]))


def seeded_noise(generator: Generator, seeds: Sequence[int]) -> Noise:
    """Draw fresh noise maps ``[N, 1, R, R]`` of numbered images, one per convolution, on the generator's device."""
    maps: list[Tensor | None] = []
    for index, conv in enumerate(generator.synthesis.convs()):
        size = conv.noise_const.shape[-1]
        drawn = [_stream(seed, _NOISE, index).standard_normal((1, size, size), np.float32) for seed in seeds]
        maps.append(torch.from_numpy(np.stack(drawn)).to(conv.noise_const))
    return maps


def noise_maps(generator: Generator, kind: NoiseKind, seeds: Sequence[int]) -> Noise:
    """Return the stored maps, fresh ones of numbered images, or none at all."""
    if kind == "random":
        return seeded_noise(generator, seeds)
    return generator.synthesis.const_noise() if kind == "const" else generator.synthesis.no_noise()


def read_latents(path: Path, space: Space, generator: Generator) -> Tensor:
    """Read latents from an ``.npy`` file.

    Args:
        path: floating point numbers ``[N, z_dim]``, ``[N, w_dim]`` or ``[N, num_ws, w_dim]`` for z, w and w+.
        space: which of the three.
        generator: the one they are meant for.

    Returns: float32, same shape, on the CPU.
    Raises: MissingInputError without the file; CorruptInputError for another format or shape, or numbers not finite.
    """
    config = generator.config
    expected = {"z": (config.z_dim,), "w": (config.w_dim,), "w+": (config.num_ws, config.w_dim)}[space]
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; expected latents as .npy")
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise CorruptInputError(f"{path}: not a readable .npy file ({error}); write it with numpy.save") from error
    if (
        not isinstance(values, np.ndarray)
        or values.dtype.kind != "f"
        or values.shape[1:] != expected
        or not len(values)
    ):
        found = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else "an archive"
        wanted = ["N", *expected]
        raise CorruptInputError(f"{path}: found {found}, expected floats [{', '.join(map(str, wanted))}] for {space}")
    if not np.isfinite(values).all():
        raise CorruptInputError(f"{path}: holds numbers that are not finite (NaN or infinity)")
    return torch.from_numpy(values.astype(np.float32))


@torch.no_grad()
def to_ws(generator: Generator, latents: Tensor, space: Space) -> Tensor:
    """Turn latents of any space into style vectors ``[N, num_ws, w_dim]`` on the generator's device."""
    latents = latents.to(generator.w_avg)
    if space == "w+":
        return latents
    return generator.broadcast(generator.mapping(latents) if space == "z" else latents)


def _stream(seed: int, purpose: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed | purpose << 64 | index << 72))
