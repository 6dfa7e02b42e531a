"""Tensors of a file against tensors of a network: every name, shape, data type and number must fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from model.errors import CorruptInputError
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig

LISTED = 10  # mismatches named in one message
Network = TypeVar("Network", Generator, Discriminator)
Config = TypeVar("Config", GeneratorConfig, DiscriminatorConfig)


def check_tensors(where: str, expected: Mapping[str, Sequence[int]], found: Mapping[str, Tensor], guess: str) -> None:
    """Refuse tensors that are missing, unknown, of another shape or data type, or not finite.

    Args:
        where: file and part, for the message.
        expected: shape by name.
        found: the tensors.
        guess: what the file seems to be instead; empty for no idea.

    Raises: CorruptInputError listing the first ten mismatches.
    """
    wrong = [f"{name}: missing, expected {list(shape)}" for name, shape in expected.items() if name not in found]
    wrong += [f"{name}: unknown entry" for name in found if name not in expected]
    for name in (name for name in expected if name in found):
        tensor, shape = found[name], list(expected[name])
        if list(tensor.shape) != shape:
            wrong.append(f"{name}: found shape {list(tensor.shape)}, expected {shape}")
        elif tensor.dtype != torch.float32:
            wrong.append(f"{name}: found {str(tensor.dtype).removeprefix('torch.')}, expected float32")
        elif not bool(torch.isfinite(tensor).all()):
            wrong.append(f"{name}: has values that are not finite (NaN or infinity)")
    if wrong:
        more = f"; and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        hint = f". {guess}" if guess else ""
        raise CorruptInputError(f"{where}: {len(wrong)} entries do not fit: {'; '.join(wrong[:LISTED])}{more}{hint}")


def empty(kind: Callable[[Config], Network], config: Config) -> Network:
    """Build a network whose weights are about to be replaced, without touching the global random numbers.

    Not on the ``meta`` device: its first use imports seconds of code, more than these random weights cost.
    """
    with torch.random.fork_rng(devices=[]):
        return kind(config)


def assemble(network: Network, state: Mapping[str, Tensor]) -> Network:
    """Replace every tensor of ``network`` by a checked one of ``state``, and return it ready for use (``eval``)."""
    network.load_state_dict(dict(state), assign=True)
    return network.eval()
