"""Reading the ``.pkl`` files of NVIDIA's StyleGAN2 (TensorFlow), stylegan2-ada-pytorch and stylegan3.

Of stylegan3's files those of its StyleGAN2 configurations; the alias-free generators are another architecture.
Nothing in such a file is executed (:mod:`model.checkpoint.inert`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.checkpoint.inert import Record, read_inert
from model.checkpoint.nvidia_names import (
    largest,
    renamed,
    tensorflow_discriminator,
    tensorflow_generator,
    torch_discriminator,
    torch_generator,
)
from model.checkpoint.rosinality import Which, discriminator_from_state, generator_from_state
from model.errors import CorruptInputError, MissingInputError
from model.files import sha256_file
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator
from model.ops.fir import TAPS

_WHAT = "network pickle of NVIDIA's StyleGAN2"
_SLOTS = {"G": "g", "D": "d", "G_ema": "g_ema"}  # entries of the PyTorch files; the others are about the training
_IGNORED = ("lod",)  # progressive growing's clock, in every TensorFlow network and constant in StyleGAN2


def read_nvidia(path: Path, which: Which = "g_ema") -> tuple[Generator, Discriminator | None, dict[str, Any]]:
    """Read a network pickle, without executing it.

    Resolution, channels, mapping depth and widths are read off the shapes.

    Args:
        path: the file.
        which: the averaged generator (``G_ema``, ``Gs``), or the raw one (``G``).

    Returns: generator, discriminator (None when the file has none), notes for the provenance.
    Raises: MissingInputError without the file or the generator asked for; CorruptInputError for a file that is
        truncated, is no such pickle, asks for a program, or holds another architecture.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; expected a {_WHAT}")
    content = read_inert(path, _WHAT)
    if isinstance(content, dict) and isinstance(content.get("G_ema", content.get("G")), Record):
        networks = {part: content[name] for name, part in _SLOTS.items() if isinstance(content.get(name), Record)}
        return _read_torch(path, networks, which)
    if isinstance(content, tuple) and len(content) == 3 and all(isinstance(part, Record) for part in content):
        return _read_tensorflow(path, dict(zip(("g", "d", "g_ema"), content, strict=True)), which)
    raise CorruptInputError(
        f"{path}: a pickle of something else, expected a {_WHAT}: a dict with G_ema, or the three networks G, D, Gs"
    )


def _read_torch(
    path: Path, networks: Mapping[str, Record], which: Which
) -> tuple[Generator, Discriminator | None, dict[str, Any]]:
    if which not in networks:
        raise MissingInputError(
            f"{path}: no generator {which!r}, it has {sorted(networks)}; choose another with --which"
        )
    state = _unfiltered(path, _state_dict(networks[which]))
    if "synthesis.input.weight" in state or "synthesis.input.freqs" in state:
        raise CorruptInputError(
            f"{path}: a StyleGAN3 generator (alias-free), another architecture; "
            "take a StyleGAN2 file, or one trained with stylegan3's --cfg=stylegan2"
        )
    size, layers = largest(state, r"^synthesis\.b(\d+)\."), 1 + largest(state, r"^mapping\.fc(\d+)\.")
    theirs = renamed(state, torch_generator(size, layers))
    generator, notes = _generator(path, theirs, which, conditional="mapping.embed.weight")
    discriminator = None
    if "d" in networks:
        state = _unfiltered(path, _state_dict(networks["d"]))
        theirs = renamed(state, torch_discriminator(largest(state, r"^b(\d+)\.")))
        discriminator = discriminator_from_state(theirs, f"{path}: D")
    clamps = {clamp for clamp in _settings(networks[which], "conv_clamp") if clamp is not None}
    if clamps:
        notes["conv_clamp"] = f"{max(clamps):g}, not applied: it keeps half precision from overflowing"
    return generator, discriminator, {"format": "nvidia-pytorch", **_file(path, which), **notes}


def _read_tensorflow(
    path: Path, networks: Mapping[str, Record], which: Which
) -> tuple[Generator, Discriminator | None, dict[str, Any]]:
    state = _variables(path, networks[which])
    size, layers = largest(state, r"^synthesis/(\d+)x"), 1 + largest(state, r"^mapping/Dense(\d+)/")
    theirs = renamed(state, tensorflow_generator(size, layers))
    generator, notes = _generator(path, theirs, which, conditional="mapping/LabelConcat/weight")
    state = _variables(path, networks["d"])
    theirs = renamed(state, tensorflow_discriminator(largest(state, r"^(\d+)x")))
    discriminator = discriminator_from_state(theirs, f"{path}: D")
    return generator, discriminator, {"format": "nvidia-tensorflow", **_file(path, which), **notes}


def _generator(
    path: Path, theirs: dict[str, Tensor], which: Which, *, conditional: str
) -> tuple[Generator, dict[str, Any]]:
    if conditional in theirs:
        raise CorruptInputError(f"{path}: a class-conditional model ({conditional}), expected one without labels")
    average = theirs.pop("latent_avg", None)
    return generator_from_state(theirs, average, f"{path}: {which}")


def _file(path: Path, which: Which) -> dict[str, Any]:
    return {"file": path.name, "sha256": sha256_file(path), "which": which}


def _state_dict(record: Record, prefix: str = "") -> dict[str, Tensor]:
    """Collect parameters and buffers of a PyTorch module and the modules in it, as ``state_dict`` would name them."""
    found = {}
    for kind in ("_parameters", "_buffers"):
        for name, tensor in record.state.get(kind, {}).items():
            if isinstance(tensor, Tensor):
                found[f"{prefix}{name}"] = tensor.detach()
    for name, child in record.state.get("_modules", {}).items():
        if isinstance(child, Record):
            found |= _state_dict(child, f"{prefix}{name}.")
    return found


def _settings(record: Record, name: str) -> list[Any]:
    """Collect an attribute of a module and of the modules in it."""
    found = [record.state[name]] if name in record.state else []
    for child in record.state.get("_modules", {}).values():
        if isinstance(child, Record):
            found += _settings(child, name)
    return found


def _unfiltered(path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the constant resampling filters, after a look at them."""
    taps = torch.tensor(TAPS)
    square = torch.outer(taps, taps) / taps.sum() ** 2
    for name in [name for name in state if name.endswith("resample_filter")]:
        tensor = state.pop(name)
        if tensor.shape != square.shape or not torch.allclose(tensor.float(), square, rtol=1e-5, atol=1e-7):
            raise CorruptInputError(
                f"{path}: {name}: another filter than [1, 3, 3, 1]; such networks are not supported"
            )
    return state


def _variables(path: Path, record: Record, prefix: str = "") -> dict[str, Tensor]:
    """Collect the variables of a TensorFlow network and its components, ``synthesis/4x4/Const/const``."""
    variables, components = record.state.get("variables"), record.state.get("components", {})
    if not isinstance(variables, list) or not isinstance(components, dict):
        raise CorruptInputError(f"{path}: a network without variables, expected a {_WHAT}")
    found = {}
    for entry in variables:
        name, array = entry if isinstance(entry, tuple) and len(entry) == 2 else (None, None)
        if not isinstance(name, str) or not isinstance(array, np.ndarray | np.generic | float | int):
            raise CorruptInputError(f"{path}: variables that are no pairs of name and array, expected a {_WHAT}")
        if name not in _IGNORED:
            found[prefix + name] = torch.from_numpy(np.array(array, np.asarray(array).dtype.newbyteorder("=")))
    for name, child in components.items():
        if isinstance(child, Record):
            found |= _variables(path, child, f"{prefix}{name}/")
    return found
