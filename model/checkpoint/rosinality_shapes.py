"""What a rosinality state dict is, read off its shapes: resolution, channels, mapping depth, widths."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from model.errors import CorruptInputError
from model.networks.discriminator import DiscriminatorConfig
from model.networks.generator import GeneratorConfig


def generator_config(state: Mapping[str, Tensor], where: str) -> tuple[GeneratorConfig, str]:
    """Return the architecture that the shapes of a generator's state dict tell, and a sentence that says so.

    Raises: CorruptInputError if it is no generator at all.
    """
    blocks = _count(state, r"to_rgbs\.(\d+)\.bias")
    layers = _count(state, r"style\.(\d+)\.weight") - 1  # style.0 has no weight
    top = f"convs.{2 * blocks - 1}.conv.weight"
    first, const, last = (_shape(state, name, where, "generator") for name in ("style.1.weight", "input.input", top))
    if blocks < 1 or len(first) != 2 or len(const) != 4 or len(last) != 5:
        raise _foreign(state, where, "generator")
    resolution = 2 ** (blocks + 2)
    base, most = _channels(resolution, top=last[1], coarse=const[1])
    try:
        config = GeneratorConfig(
            resolution=resolution,
            z_dim=first[1],
            w_dim=first[0],
            mapping_layers=layers,
            channel_base=base,
            channel_max=most,
        )
    except ValueError as error:
        raise CorruptInputError(f"{where}: looks like a {resolution} px generator, but {error}") from error
    return config, _guess(config)


def discriminator_config(state: Mapping[str, Tensor], where: str) -> tuple[DiscriminatorConfig, str]:
    """Return the architecture that the shapes of a discriminator's state dict tell; see :func:`generator_config`."""
    blocks = _count(state, r"convs\.(\d+)\.skip\.1\.weight") - 1  # convs.0 is fromRGB
    names = ("convs.0.0.weight", "final_conv.0.weight")
    first, final = (_shape(state, name, where, "discriminator") for name in names)
    if not 1 <= blocks <= 8 or len(first) != 4 or len(final) != 4:
        raise _foreign(state, where, "discriminator")
    resolution = 2 ** (blocks + 2)
    base, most = _channels(resolution, top=first[0], coarse=final[0])
    config = DiscriminatorConfig(resolution=resolution, channel_base=base, channel_max=most)
    return config, _guess(config)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Return one more than the highest index that ``pattern`` finds."""
    return 1 + max((int(found.group(1)) for name in state if (found := re.fullmatch(pattern, name))), default=-1)


def _shape(state: Mapping[str, Tensor], name: str, where: str, kind: str) -> list[int]:
    if name not in state:
        raise _foreign(state, where, kind, f"no entry {name}; ")
    return list(state[name].shape)


def _channels(resolution: int, *, top: int, coarse: int) -> tuple[int, int]:
    """Return ``channel_base`` and ``channel_max``; where no block is narrower, the smallest base that fits."""
    return top * resolution, coarse


def _guess(config: GeneratorConfig | DiscriminatorConfig) -> str:
    multiplier = config.channel_base / 16384
    size = f"a {config.resolution} px model"
    if config.channel_max == 512 and config.resolution >= 64:
        size += f" with channel multiplier {multiplier:g}"
    return f"By its shapes this is {size}"


def _foreign(state: Mapping[str, Tensor], where: str, kind: str, reason: str = "") -> CorruptInputError:
    names = list(state)
    some = ", ".join(names[:5])
    hint = "; its names begin with 'module.', so save model.module" if names and names[0].startswith("module.") else ""
    return CorruptInputError(
        f"{where}: not a StyleGAN2 {kind} of rosinality's layout: {reason}found {len(names)} entries ({some} ...){hint}"
    )
