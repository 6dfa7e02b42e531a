"""Names and layouts of NVIDIA's StyleGAN2 networks beside rosinality's, entry by entry.

Both store the same numbers up to names, the order of axes, one flipped kernel and one offset, so a table of names and
reshapes is the whole conversion; what remains is checked and read as rosinality's.

Source: the published formats of stylegan2 (TensorFlow), stylegan2-ada-pytorch and stylegan3 (its StyleGAN2
configurations); names and shapes re-told, no code taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

Change = Callable[[Tensor], Tensor]
Table = dict[str, tuple[str, Change]]  # NVIDIA's name -> rosinality's name, and how to change the tensor


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _lead(tensor: Tensor) -> Tensor:
    return tensor[None]


def _single(tensor: Tensor) -> Tensor:
    return tensor.reshape(1)


def _rgb(tensor: Tensor) -> Tensor:
    return tensor.reshape(1, -1, 1, 1)


def _map(tensor: Tensor) -> Tensor:
    return tensor.reshape(1, 1, *tensor.shape[-2:])


def _turn(tensor: Tensor) -> Tensor:
    return tensor.t()


def _plus_one(tensor: Tensor) -> Tensor:
    return tensor + 1


def _out_first(tensor: Tensor) -> Tensor:
    return tensor.permute(3, 2, 0, 1)


def _styled(tensor: Tensor) -> Tensor:
    return tensor.permute(3, 2, 0, 1)[None]


def _styled_flipped(tensor: Tensor) -> Tensor:
    return tensor.permute(3, 2, 0, 1).flip(2, 3)[None]


def renamed(state: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """Return a state dict under rosinality's names; names that the table lacks stay, for the strict check to list."""
    result = {}
    for name, tensor in state.items():
        theirs, change = table.get(name, (name, _same))
        # A tensor of another rank cannot be changed; left as it is, the strict check names it with its shape.
        try:
            result[theirs] = change(tensor)
        except (RuntimeError, IndexError):
            result[theirs] = tensor
    return result


def largest(names: Iterable[str], pattern: str) -> int:
    """Return the largest number that ``pattern`` finds in any name, -1 without one."""
    return max((int(found) for name in names for found in re.findall(pattern, name)), default=-1)


def torch_generator(resolution: int, layers: int) -> Table:
    """Table of the PyTorch generator, ``synthesis.b8.conv0.weight``; the mean w is ``latent_avg``."""
    table: Table = {"mapping.w_avg": ("latent_avg", _same), "synthesis.b4.const": ("input.input", _lead)}
    for i in range(layers):
        for part in ("weight", "bias"):
            table[f"mapping.fc{i}.{part}"] = (f"style.{i + 1}.{part}", _same)
    for number, (size, conv) in enumerate(_convolutions(resolution)):
        block, theirs = f"synthesis.b{size}", _convolution(number)
        for part, name, change in (
            ("weight", f"{theirs}.conv.weight", _lead),
            ("affine.weight", f"{theirs}.conv.modulation.weight", _same),
            ("affine.bias", f"{theirs}.conv.modulation.bias", _same),
            ("noise_strength", f"{theirs}.noise.weight", _single),
            ("noise_const", f"noises.noise_{number}", _map),
            ("bias", f"{theirs}.activate.bias", _same),
        ):
            table[f"{block}.conv{conv}.{part}"] = (name, change)
    for number, size in enumerate(_sizes(resolution)):
        theirs = _to_rgb(number)
        for part, name, change in (
            ("weight", f"{theirs}.conv.weight", _lead),
            ("affine.weight", f"{theirs}.conv.modulation.weight", _same),
            ("affine.bias", f"{theirs}.conv.modulation.bias", _same),
            ("bias", f"{theirs}.bias", _rgb),
        ):
            table[f"synthesis.b{size}.torgb.{part}"] = (name, change)
    return table


def torch_discriminator(resolution: int) -> Table:
    """Table of the PyTorch discriminator of the residual architecture, ``b64.skip.weight``."""
    pairs = {f"b{resolution}.fromrgb": "convs.0.{}", "b4.conv": "final_conv.{}"}
    table: Table = {f"{ours}.weight": (theirs.format("0.weight"), _same) for ours, theirs in pairs.items()}
    table |= {f"{ours}.bias": (theirs.format("1.bias"), _same) for ours, theirs in pairs.items()}
    for k, size in enumerate(reversed(_sizes(resolution)[1:]), start=1):
        table |= {
            f"b{size}.conv0.weight": (f"convs.{k}.conv1.0.weight", _same),
            f"b{size}.conv0.bias": (f"convs.{k}.conv1.1.bias", _same),
            f"b{size}.conv1.weight": (f"convs.{k}.conv2.1.weight", _same),
            f"b{size}.conv1.bias": (f"convs.{k}.conv2.2.bias", _same),
            f"b{size}.skip.weight": (f"convs.{k}.skip.1.weight", _same),
        }
    for layer, name in enumerate(("fc", "out")):
        for part in ("weight", "bias"):
            table[f"b4.{name}.{part}"] = (f"final_linear.{layer}.{part}", _same)
    return table


def tensorflow_generator(resolution: int, layers: int) -> Table:
    """Table of the TensorFlow generator, ``synthesis/8x8/Conv0_up/weight``.

    Kernels are ``[height, width, in, out]``, the upsampling ones turned by 180 degrees; the style's bias is stored
    without its 1.
    """
    table: Table = {"dlatent_avg": ("latent_avg", _same), "synthesis/4x4/Const/const": ("input.input", _same)}
    for i in range(layers):
        table[f"mapping/Dense{i}/weight"] = (f"style.{i + 1}.weight", _turn)
        table[f"mapping/Dense{i}/bias"] = (f"style.{i + 1}.bias", _same)
    for number, (size, conv) in enumerate(_convolutions(resolution)):
        layer = "Conv" if size == 4 else ("Conv0_up", "Conv1")[conv]
        block, theirs = f"synthesis/{size}x{size}/{layer}", _convolution(number)
        table |= {
            f"{block}/weight": (f"{theirs}.conv.weight", _styled_flipped if layer == "Conv0_up" else _styled),
            f"{block}/mod_weight": (f"{theirs}.conv.modulation.weight", _turn),
            f"{block}/mod_bias": (f"{theirs}.conv.modulation.bias", _plus_one),
            f"{block}/noise_strength": (f"{theirs}.noise.weight", _single),
            f"{block}/bias": (f"{theirs}.activate.bias", _same),
            f"synthesis/noise{number}": (f"noises.noise_{number}", _map),
        }
    for number, size in enumerate(_sizes(resolution)):
        block, theirs = f"synthesis/{size}x{size}/ToRGB", _to_rgb(number)
        table |= {
            f"{block}/weight": (f"{theirs}.conv.weight", _styled),
            f"{block}/mod_weight": (f"{theirs}.conv.modulation.weight", _turn),
            f"{block}/mod_bias": (f"{theirs}.conv.modulation.bias", _plus_one),
            f"{block}/bias": (f"{theirs}.bias", _rgb),
        }
    return table


def tensorflow_discriminator(resolution: int) -> Table:
    """Table of the TensorFlow discriminator, ``64x64/Skip/weight``: the PyTorch one's layers under other names."""
    layers = {
        "fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip", "conv": "Conv", "fc": "Dense0",
    }  # fmt: skip
    table: Table = {}
    for ours, (theirs, _) in torch_discriminator(resolution).items():
        block, layer, part = ours.split(".")
        size = block.removeprefix("b")
        weight = _turn if layer in ("fc", "out") else _out_first
        name = "Output" if layer == "out" else f"{size}x{size}/{layers[layer]}"
        table[f"{name}/{part}"] = (theirs, weight if part == "weight" else _same)
    return table


def _sizes(resolution: int) -> list[int]:
    return [2**k for k in range(2, resolution.bit_length())]


def _convolutions(resolution: int) -> list[tuple[int, int]]:
    """Size of the block and index in it of every styled convolution, in order."""
    return [(4, 1)] + [(size, conv) for size in _sizes(resolution)[1:] for conv in (0, 1)]


def _convolution(number: int) -> str:
    return "conv1" if number == 0 else f"convs.{number - 1}"


def _to_rgb(number: int) -> str:
    return "to_rgb1" if number == 0 else f"to_rgbs.{number - 1}"
