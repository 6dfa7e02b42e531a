"""Pickles as NVIDIA's programs write them, made from our networks: their names, layouts and classes, not their code."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.checkpoint.rosinality import state_of_discriminator, state_of_generator
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator


@contextmanager
def their_modules() -> Iterator[dict[str, Any]]:
    """Put modules of their names in place, so that pickles can refer to them; yields what is in them."""
    persistence = types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("nobody may call this")

    class EasyDict(dict):  # type: ignore[type-arg]
        pass

    class Network:
        def __getstate__(self) -> dict[str, Any]:
            return self.__dict__

    inside: dict[str, tuple[str, Any]] = {
        "reconstruct": ("torch_utils.persistence", _reconstruct_persistent_obj),
        "EasyDict": ("dnnlib.util", EasyDict),
        "Network": ("dnnlib.tflib.network", Network),
    }
    names = ["torch_utils", "dnnlib", "dnnlib.tflib", *(module for module, _ in inside.values())]
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: types.ModuleType(name) for name in names} | {"torch_utils.persistence": persistence})
    try:
        for module, item in inside.values():
            item.__module__, item.__qualname__ = module, item.__name__
            setattr(sys.modules[module], item.__name__, item)
        yield {name: item for name, (_, item) in inside.items()}
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name)
            else:
                sys.modules[name] = module


class _Persistent:
    """An object that travels with its source code."""

    def __init__(self, modules: dict[str, Any], name: str, state: dict[str, Any]) -> None:
        self.modules, self.name, self.state = modules, name, state

    def __reduce__(self) -> tuple[Any, ...]:
        meta = self.modules["EasyDict"](
            type="class", version=6, module_src="raise SystemExit", class_name=self.name, state=self.state
        )
        return self.modules["reconstruct"], (meta,)


def write_torch(path: Path, generator: Generator, discriminator: Discriminator | None, **extra: Tensor) -> Path:
    """Write a file as stylegan2-ada-pytorch does; ``extra`` adds or replaces tensors of both generators."""
    raw = {name: tensor + (not name.endswith("_filter")) for name, tensor in torch_generator_state(generator).items()}
    judge = None if discriminator is None else torch_discriminator_state(discriminator)
    with their_modules() as modules:
        content = {
            "G": _module(modules, "Generator", raw | extra),
            "G_ema": _module(modules, "Generator", torch_generator_state(generator) | extra),
            "D": None if judge is None else _module(modules, "Discriminator", judge),
            "training_set_kwargs": modules["EasyDict"](path="faces.zip", resolution=32, xflip=np.bool_(True)),
            "augment_pipe": None,
        }  # fmt: skip
        path.write_bytes(pickle.dumps(content))
    return path


def write_tensorflow(path: Path, generator: Generator, discriminator: Discriminator) -> Path:
    """Write a file as StyleGAN2 for TensorFlow does: the tuple G, D, Gs."""
    smooth, judge = tensorflow_generator_state(generator), tensorflow_discriminator_state(discriminator)
    raw = {name: array + np.float32(1) for name, array in smooth.items()}
    with their_modules() as modules:
        path.write_bytes(pickle.dumps(tuple(_tensorflow_network(modules, state) for state in (raw, judge, smooth))))
    return path


def torch_generator_state(generator: Generator) -> dict[str, Tensor]:
    """Return a generator's tensors under the names and in the shapes of the PyTorch files."""
    given, config = state_of_generator(generator), generator.config
    state = {"mapping.w_avg": generator.w_avg.clone(), "synthesis.b4.const": given["input.input"][0]}
    for i in range(config.mapping_layers):
        for part in ("weight", "bias"):
            state[f"mapping.fc{i}.{part}"] = given[f"style.{i + 1}.{part}"]
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    for number, name in enumerate(_styled(config.resolution)):
        theirs, ours = ("conv1" if number == 0 else f"convs.{number - 1}"), f"synthesis.{name}"
        state[f"{ours}.weight"] = given[f"{theirs}.conv.weight"][0]
        state[f"{ours}.affine.weight"] = given[f"{theirs}.conv.modulation.weight"]
        state[f"{ours}.affine.bias"] = given[f"{theirs}.conv.modulation.bias"]
        state[f"{ours}.noise_strength"] = given[f"{theirs}.noise.weight"].reshape(())
        state[f"{ours}.noise_const"] = given[f"noises.noise_{number}"][0, 0]
        state[f"{ours}.bias"] = given[f"{theirs}.activate.bias"]
        state[f"{ours}.resample_filter"] = torch.outer(taps, taps) / 64
    for number, size in enumerate(config.resolutions):
        theirs, ours = ("to_rgb1" if number == 0 else f"to_rgbs.{number - 1}"), f"synthesis.b{size}.torgb"
        state[f"{ours}.weight"] = given[f"{theirs}.conv.weight"][0]
        state[f"{ours}.affine.weight"] = given[f"{theirs}.conv.modulation.weight"]
        state[f"{ours}.affine.bias"] = given[f"{theirs}.conv.modulation.bias"]
        state[f"{ours}.bias"] = given[f"{theirs}.bias"].reshape(-1)
    return state


def torch_discriminator_state(discriminator: Discriminator) -> dict[str, Tensor]:
    """Return a discriminator's tensors under the names of the PyTorch files."""
    given, sizes = state_of_discriminator(discriminator), discriminator.config.resolutions
    state = {}
    for part, index in (("weight", 0), ("bias", 1)):
        state[f"b{discriminator.config.resolution}.fromrgb.{part}"] = given[f"convs.0.{index}.{part}"]
        state[f"b4.conv.{part}"] = given[f"final_conv.{index}.{part}"]
        state[f"b4.fc.{part}"], state[f"b4.out.{part}"] = (given[f"final_linear.{i}.{part}"] for i in (0, 1))
        for k, size in enumerate(sizes, start=1):
            state[f"b{size}.conv0.{part}"] = given[f"convs.{k}.conv1.{index}.{part}"]
            state[f"b{size}.conv1.{part}"] = given[f"convs.{k}.conv2.{index + 1}.{part}"]
    for k, size in enumerate(sizes, start=1):
        state[f"b{size}.skip.weight"] = given[f"convs.{k}.skip.1.weight"]
    return state


def tensorflow_generator_state(generator: Generator) -> dict[str, Any]:
    """Return a generator's variables under the names and in the layouts of the TensorFlow files."""
    result: dict[str, Any] = {"lod": np.float32(0)}
    sizes = {f"b{size}": f"{size}x{size}" for size in generator.config.resolutions}
    layers = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB"}
    number = 0
    for name, tensor in torch_generator_state(generator).items():
        array, parts = tensor.numpy(), name.split(".")
        if name == "mapping.w_avg":
            result["dlatent_avg"] = array
        elif parts[0] == "mapping":
            result[f"mapping/Dense{parts[1][2:]}/{parts[2]}"] = array.T
        elif parts[-1] == "const":
            result["synthesis/4x4/Const/const"] = array[None]
        elif parts[-1] == "noise_const":
            result[f"synthesis/noise{number}"], number = array[None, None], number + 1
        elif parts[-1] != "resample_filter":
            layer = "Conv" if parts[1:3] == ["b4", "conv1"] else layers[parts[2]]
            rest = {"affine.weight": "mod_weight", "affine.bias": "mod_bias"}.get(".".join(parts[3:]), parts[-1])
            if rest == "weight":
                array = array.transpose(2, 3, 1, 0)
                array = array[::-1, ::-1] if layer == "Conv0_up" else array
            array = array.T if rest == "mod_weight" else array - 1 if rest == "mod_bias" else array
            result[f"synthesis/{sizes[parts[1]]}/{layer}/{rest}"] = array
    return result


def tensorflow_discriminator_state(discriminator: Discriminator) -> dict[str, Any]:
    """Return a discriminator's variables under the names and in the layouts of the TensorFlow files."""
    result: dict[str, Any] = {"lod": np.float32(0)}
    layers = {
        "fromrgb": "FromRGB",
        "conv0": "Conv0",
        "conv1": "Conv1_down",
        "skip": "Skip",
        "conv": "Conv",
        "fc": "Dense0",
    }
    for name, tensor in torch_discriminator_state(discriminator).items():
        block, layer, part = name.split(".")
        array = tensor.numpy()
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        size = block[1:]
        result[f"Output/{part}" if layer == "out" else f"{size}x{size}/{layers[layer]}/{part}"] = array
    return result


def _styled(resolution: int) -> list[str]:
    sizes = [2**k for k in range(3, resolution.bit_length())]
    return ["b4.conv1"] + [f"b{size}.conv{i}" for size in sizes for i in (0, 1)]


def _module(modules: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> _Persistent:
    """Nest tensors by the dots in their names, as modules, with the attributes such modules have."""
    buffers = ("resample_filter", "noise_const", "w_avg")
    own = {key: tensor for key, tensor in tensors.items() if "." not in key}
    children: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        child, _, rest = key.partition(".")
        if rest:
            children.setdefault(child, {})[rest] = tensor
    parameters = {key: nn.Parameter(value, requires_grad=False) for key, value in own.items() if key not in buffers}
    return _Persistent(modules, name, {
        "_init_args": (), "_init_kwargs": modules["EasyDict"](z_dim=8), "training": False,
        "_parameters": OrderedDict(parameters | {"none": None}),
        "_buffers": OrderedDict({key: value for key, value in own.items() if key in buffers}),
        "_modules": OrderedDict({key: _module(modules, "Layer", value) for key, value in children.items()}),
        "_non_persistent_buffers_set": set(), "_backward_hooks": OrderedDict(),
        "act_gain": np.sqrt(2), "resolutions": [4, 8], "conv_clamp": 256 if "resample_filter" in own else None,
    })  # fmt: skip


def _tensorflow_network(modules: dict[str, Any], state: dict[str, Any]) -> Any:
    network = modules["Network"]()
    tops: dict[str, dict[str, Any]] = {}
    own = []
    for name, value in state.items():
        top, _, rest = name.partition("/")
        if top in ("mapping", "synthesis"):
            tops.setdefault(top, {})[rest] = value
        else:
            own.append((name, value))
    network.version, network.name, network.build_module_src = 4, "G", "raise SystemExit"
    network.static_kwargs = modules["EasyDict"](num_channels=3)
    network.variables = own
    network.components = modules["EasyDict"]({top: _tensorflow_network(modules, inner) for top, inner in tops.items()})
    return network
