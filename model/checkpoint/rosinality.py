"""Reading and writing the ``.pt`` files of rosinality/stylegan2-pytorch and everything derived from it.

A ``.pt`` file is a program for a small stack machine. It is read by torch's restricted interpreter
(``weights_only=True``), which builds tensors and plain containers and refuses everything else; the one class added to
its list is ``argparse.Namespace``, in which training scripts kept their arguments. There is no second, more trusting
try.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from torch import Tensor

from model.checkpoint.rosinality_keys import (
    Entry,
    discriminator_entries,
    discriminator_kernels,
    generator_entries,
    generator_kernels,
    kernel,
    noise_entries,
)
from model.checkpoint.rosinality_shapes import discriminator_config, generator_config
from model.checkpoint.strict import Network, assemble, check_tensors, empty
from model.errors import CorruptInputError, DivergenceError, MissingInputError
from model.files import atomic_write, sha256_file
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator

KNOWN = ("g", "d", "g_ema", "g_optim", "d_optim", "args", "ada_aug_p", "latent_avg")  # top-level entries
MEAN_W_SAMPLES = 10_000
Which = Literal["g_ema", "g"]
# What torch.load raises on files that are truncated, refused or no checkpoints; anything else is a bug, not hidden.
_LOAD_ERRORS = (
    UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
)


def read_rosinality(path: Path, which: Which = "g_ema") -> tuple[Generator, Discriminator | None, dict[str, Any]]:
    """Read a ``.pt`` checkpoint.

    Size, channel multiplier, mapping depth and width of w are read off the shapes. In files older than the noise
    buffers the noise maps are drawn from a fixed seed. Without ``latent_avg`` the mean w is computed from 10,000 fixed
    z. Constant filters may be absent; present, they must be the [1, 3, 3, 1] filter.

    Args:
        path: the file.
        which: the averaged generator, or the raw one.

    Returns: generator, discriminator (None when the file has none), notes for the provenance.
    Raises: MissingInputError without the file or without the generator asked for; CorruptInputError for a file that is
        truncated, is no checkpoint, holds anything but tensors and plain values, or whose entries do not fit.
    """
    content = _load(path)
    unknown = [str(key) for key in content if key not in KNOWN]
    if unknown:
        raise CorruptInputError(
            f"{path}: unknown entries {unknown[:10]}, expected some of {list(KNOWN)}; re-save the file with these alone"
        )
    if which not in content:
        raise MissingInputError(
            f"{path}: no generator {which!r}, it has {sorted(content)}; choose another with --which"
        )
    average = _latent_avg(path, content.get("latent_avg"))
    generator, notes = generator_from_state(_state(path, content, which), average, f"{path}: {which}")
    discriminator = None
    if "d" in content:
        discriminator = discriminator_from_state(_state(path, content, "d"), f"{path}: d")
    notes = {"format": "rosinality", "file": path.name, "sha256": sha256_file(path), "which": which, **notes}
    if isinstance(content.get("args"), argparse.Namespace):
        notes["args"] = _plain(vars(content["args"]))
    if "ada_aug_p" in content:
        notes["ada_aug_p"] = _plain(content["ada_aug_p"])
    return generator, discriminator, notes


def generator_from_state(
    state: Mapping[str, Tensor], w_avg: Tensor | None, where: str
) -> tuple[Generator, dict[str, Any]]:
    """Build a generator from a state dict of theirs.

    Args:
        state: their names and shapes.
        w_avg: mean w ``[w_dim]``; None computes it.
        where: file and part, for messages.

    Returns: the generator (``eval``) and notes on what the state dict lacked.
    Raises: CorruptInputError listing the entries that do not fit.
    """
    config, guess = generator_config(state, where)
    entries, maps = list(generator_entries(config)), list(noise_entries(config))
    stored = any(entry.theirs in state for entry in maps)
    _check_state(where, [*entries, *maps] if stored else entries, generator_kernels(config), state, guess)
    network = empty(Generator, config)
    tensors = _renamed(network, entries, state)
    tensors |= _renamed(network, maps, state if stored else _seeded_noise(maps))
    average = torch.zeros(config.w_dim) if w_avg is None else w_avg
    if average.shape != (config.w_dim,):
        raise CorruptInputError(f"{where}: latent_avg has shape {list(average.shape)}, expected [{config.w_dim}]")
    generator = assemble(network, tensors | {"w_avg": average.clone()})
    if w_avg is None:
        generator.w_avg.copy_(_mean_w(generator))
    notes = {
        "noise_const": "stored" if stored else "absent, drawn from a fixed seed",
        "w_avg": f"absent, mean of {MEAN_W_SAMPLES} fixed z" if w_avg is None else "stored",
    }
    return generator, notes


def discriminator_from_state(state: Mapping[str, Tensor], where: str) -> Discriminator:
    """Build a discriminator (``eval``) from a state dict of theirs; raises as :func:`generator_from_state`."""
    config, guess = discriminator_config(state, where)
    entries = list(discriminator_entries(config))
    _check_state(where, entries, discriminator_kernels(config), state, guess)
    network = empty(Discriminator, config)
    return assemble(network, _renamed(network, entries, state))


def write_rosinality(path: Path, generator: Generator, discriminator: Discriminator | None = None) -> str:
    """Write a ``.pt`` file that the original programs and :func:`read_rosinality` read: g, g_ema, d, latent_avg.

    ``g`` and ``g_ema`` are the same tensors, stored once. The original programs want 512 numbers in z and w.

    Returns: the sha256 of the file, in hex.
    Raises: DivergenceError naming a tensor that is not finite; nothing is written then.
    """
    g = state_of_generator(generator)
    content: dict[str, Any] = {"g": g, "g_ema": g, "latent_avg": generator.w_avg.detach().cpu().clone()}
    if discriminator is not None:
        content["d"] = state_of_discriminator(discriminator)
    for part in ("g", "d"):
        for name, tensor in content.get(part, {}).items():
            if not bool(torch.isfinite(tensor).all()):
                raise DivergenceError(f"{path}: not written, {part} {name} has values that are not finite")
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return atomic_write(path, lambda file: file.write(buffer.getbuffer()))


def state_of_generator(generator: Generator) -> dict[str, Tensor]:
    """Return a generator's tensors under their names and in their shapes, filters and noise maps included."""
    entries = [*generator_entries(generator.config), *noise_entries(generator.config)]
    return _exported(generator, entries) | {
        name: kernel(total) for name, total in generator_kernels(generator.config).items()
    }


def state_of_discriminator(discriminator: Discriminator) -> dict[str, Tensor]:
    """Return a discriminator's tensors under their names and in their shapes, filters included."""
    config = discriminator.config
    kernels = {name: kernel(total) for name, total in discriminator_kernels(config).items()}
    return _exported(discriminator, discriminator_entries(config)) | kernels


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; expected a rosinality .pt checkpoint")
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        raise CorruptInputError(
            f"{path}: a web page, not a checkpoint (a download quota or login page?); download it again"
        )
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # about old pickle protocols: either it reads, or it is refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _LOAD_ERRORS as error:
        raise _unreadable(path, error) from error
    if not isinstance(content, dict):
        raise CorruptInputError(f"{path}: holds a {type(content).__name__}, expected a dict with some of {list(KNOWN)}")
    return content


def _unreadable(path: Path, error: Exception) -> CorruptInputError:
    """Say why a file was refused, without torch's advice to load it unsafely."""
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, UnpicklingError) and asked:
        return CorruptInputError(
            f"{path}: refused, it asks for {asked[1]}, expected tensors and plain values alone; nothing was executed. "
            "Get the weights as plain tensors from a source you trust"
        )
    reason = "unknown content" if isinstance(error, UnpicklingError) else str(error).split(". ")[0]
    return CorruptInputError(
        f"{path}: truncated or not a checkpoint ({reason or 'it ends too early'}); "
        "expected a rosinality .pt file, get it again"
    )


def _state(path: Path, content: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    state = content[part]
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CorruptInputError(f"{path}: {part} is a {type(state).__name__}, expected a state dict (names to tensors)")
    other = [name for name, value in state.items() if not isinstance(value, Tensor) or value.layout != torch.strided]
    if other:
        raise CorruptInputError(
            f"{path}: {part}: {other[:10]} are no dense tensors, expected a state dict (names to tensors)"
        )
    return state


def _latent_avg(path: Path, value: object) -> Tensor | None:
    if value is None:
        return None
    if not isinstance(value, Tensor) or value.dtype != torch.float32 or not bool(torch.isfinite(value).all()):
        raise CorruptInputError(
            f"{path}: latent_avg is no tensor of finite float32, expected [w_dim]; remove it and it is computed"
        )
    return value.reshape(-1)


def _check_state(
    where: str, entries: Iterable[Entry], kernels: Mapping[str, float], state: Mapping[str, Tensor], guess: str
) -> None:
    expected: dict[str, tuple[int, ...]] = {entry.theirs: entry.shape for entry in entries}
    expected |= {name: (4, 4) for name in kernels if name in state}
    check_tensors(where, expected, state, guess)
    for name, total in kernels.items():
        if name in state and not torch.allclose(state[name], kernel(total), rtol=1e-5, atol=1e-7):
            raise CorruptInputError(
                f"{where}: {name}: another filter than [1, 3, 3, 1] with sum {total:g}; such networks are not supported"
            )


def _renamed(network: Network, entries: Iterable[Entry], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy their tensors to our names and shapes."""
    own = network.state_dict()
    return {
        e.ours: state[e.theirs].detach().reshape(own[e.ours].shape).clone(memory_format=torch.contiguous_format)
        for e in entries
    }


def _exported(network: Generator | Discriminator, entries: Iterable[Entry]) -> dict[str, Tensor]:
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    return {e.theirs: own[e.ours].reshape(e.shape).clone() for e in entries}


def _seeded_noise(maps: Iterable[Entry]) -> dict[str, Tensor]:
    return {entry.theirs: _normal(f"noise_const/{i}", entry.shape) for i, entry in enumerate(maps)}


def _mean_w(generator: Generator) -> Tensor:
    z = _normal("mean_w", (MEAN_W_SAMPLES, generator.config.z_dim))
    with torch.no_grad():
        return torch.cat([generator.mapping(part) for part in torch.split(z, 1000)]).mean(0)


def _normal(purpose: str, shape: tuple[int, ...]) -> Tensor:
    """Draw N(0, 1) from a counter-based stream: a function of ``purpose`` alone."""
    import numpy as np

    key = int.from_bytes(purpose.encode()[:16], "little")
    values = np.random.Generator(np.random.Philox(key=key)).standard_normal(math.prod(shape), dtype=np.float32)
    return torch.from_numpy(values).reshape(shape)


def _plain(value: object) -> Any:
    """Reduce arguments to what JSON holds."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)[:200]
