"""The stored reference outputs, and our networks with the same weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.checkpoint.rosinality import discriminator_from_state, generator_from_state
from model.networks.discriminator import Discriminator
from model.networks.generator import BlockOutput, Generator
from tests.golden.recipe import recipe_tensor, state_dict_from_shapes

FOLDER = Path(__file__).parent


@dataclass
class Reference:
    """One ``.npz`` file with the networks and inputs of its recipe."""

    arrays: dict[str, Any]
    meta: dict[str, Any]
    generator: Generator
    discriminator: Discriminator
    dtype: torch.dtype

    def given(self, name: str, *shape: int) -> Tensor:
        return torch.from_numpy(recipe_tensor(name, shape, self.meta["salt"] + "/in")).to(self.dtype)

    @cached_property
    def ws(self) -> Tensor:
        with torch.enable_grad():
            return self.generator.broadcast(self.generator.mapping(self.given("z1", self.meta["batch"], 512)))

    @cached_property
    def outputs(self) -> list[BlockOutput]:
        """One pass with its graph, shared by every test: at 64 px in float64 a pass takes seconds."""
        return list(self.generator.synthesis.walk(self.ws, self.generator.synthesis.const_noise()))

    @cached_property
    def fake_logits(self) -> Tensor:
        return self.discriminator(self.outputs[-1].rgb.tanh())

    @cached_property
    def real(self) -> Tensor:
        size = self.meta["size"]
        return self.given("real", self.meta["batch"], 3, size, size).tanh().requires_grad_()

    @cached_property
    def real_logits(self) -> Tensor:
        return self.discriminator(self.real)

    def norms(self, name: str) -> dict[str, float]:
        return dict(json.loads(str(self.arrays[name])))


def recipe_state(meta: dict[str, Any], part: str) -> dict[str, Tensor]:
    """Return the weights of the recipe in rosinality's names, without the constant filters."""
    shapes = {name: tuple(shape) for name, shape in meta[f"{part}_shapes"].items()}
    return {k: torch.from_numpy(v) for k, v in state_dict_from_shapes(shapes, f"{meta['salt']}/{part}").items()}


def load_reference(name: str, dtype: torch.dtype) -> Reference:
    """Read ``stylegan2_{name}.npz`` and build our networks from the recipe's weights."""
    with np.load(FOLDER / f"stylegan2_{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    meta = json.loads(str(arrays["meta"]))
    generator, _ = generator_from_state(recipe_state(meta, "g"), torch.zeros(512), "recipe g")
    discriminator = discriminator_from_state(recipe_state(meta, "d"), "recipe d")
    return Reference(arrays, meta, generator.to(dtype), discriminator.to(dtype), dtype)
