"""StyleGAN2 as most public ports write it, for comparison: the same function of the same weights, computed plainly.

Written from the papers: per-sample weights in one grouped convolution (Karras et al. 2020, section 2.2), the low-pass
filter on ``N * C`` one-channel planes after zero-stuffing, the discriminator's skip filtered at full resolution before
the 1x1 convolution drops three quarters of it, activation gains and residual scales as passes of their own, NCHW.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.discriminator import Discriminator, DiscriminatorBlock
from model.networks.generator import Generator, Noise, SynthesisBlock
from model.networks.layers import Conv as OurConv
from model.networks.layers import Linear as OurLinear
from model.networks.layers import ModulatedConv as OurModulatedConv
from model.networks.layers import ToRgb as OurToRgb


def fir(x: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Zero-stuff, pad, filter with [1, 3, 3, 1] x [1, 3, 3, 1] (gain up^2) and keep every ``down``-th sample."""
    n, c, height, width = x.shape
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
    kernel = torch.outer(taps, taps) / 64 * up**2
    planes = x.reshape(n * c, 1, height, 1, width, 1)
    planes = F.pad(planes, [0, up - 1, 0, 0, 0, up - 1]).reshape(n * c, 1, height * up, width * up)
    planes = F.conv2d(F.pad(planes, [*pad, *pad]), kernel[None, None])[:, :, ::down, ::down]
    return planes.reshape(n, c, planes.shape[2], planes.shape[3])


def copy_of(parameter: Tensor) -> nn.Parameter:
    return nn.Parameter(parameter.detach().contiguous().clone())


def activate(x: Tensor, bias: Tensor) -> Tensor:
    return F.leaky_relu(x + bias.view(1, -1, *[1] * (x.ndim - 2)), 0.2) * math.sqrt(2.0)


class Linear(nn.Module):
    def __init__(self, ours: OurLinear) -> None:
        super().__init__()
        self.weight, self.bias = copy_of(ours.weight), copy_of(ours.bias)
        self.lr, self.activated = ours.bias_gain, ours.activate
        self.scale = self.lr / math.sqrt(self.weight.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        if self.activated:
            return activate(F.linear(x, self.weight * self.scale), self.bias * self.lr)
        return F.linear(x, self.weight * self.scale, self.bias * self.lr)


class ModulatedConv(nn.Module):
    def __init__(self, ours: OurModulatedConv | OurToRgb) -> None:
        super().__init__()
        weight = ours.weight if ours.weight.ndim == 4 else ours.weight[:, :, None, None]
        self.weight, self.affine = copy_of(weight[None]), Linear(ours.affine)
        self.scale = 1.0 / math.sqrt(weight[0].numel())
        self.demodulate, self.up = isinstance(ours, OurModulatedConv), getattr(ours, "up", False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, c, height, width = x.shape
        weight = self.scale * self.weight * self.affine(w).view(n, 1, c, 1, 1)
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum([2, 3, 4]) + 1e-8).view(n, -1, 1, 1, 1)
        out, k = weight.shape[1], weight.shape[3]
        x = x.reshape(1, n * c, height, width)
        if self.up:
            weight = weight.transpose(1, 2).reshape(n * c, out, k, k)
            x = F.conv_transpose2d(x, weight, stride=2, groups=n)
            return fir(x.reshape(n, out, x.shape[2], x.shape[3]), pad=(1, 1)) * 4
        x = F.conv2d(x, weight.reshape(n * out, c, k, k), padding=k // 2, groups=n)
        return x.reshape(n, out, height, width)


class StyledConv(nn.Module):
    def __init__(self, ours: OurModulatedConv) -> None:
        super().__init__()
        self.conv, self.bias = ModulatedConv(ours), copy_of(ours.bias)
        self.noise_strength = copy_of(ours.noise_strength)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        x = self.conv(x, w)
        if noise is None:
            noise = x.new_empty(x.shape[0], 1, x.shape[2], x.shape[3]).normal_()
        return activate(x + self.noise_strength * noise, self.bias)


class Block(nn.Module):
    def __init__(self, ours: SynthesisBlock) -> None:
        super().__init__()
        self.convs = nn.ModuleList(StyledConv(conv) for conv in ours.convs())
        self.to_rgb, self.rgb_bias = ModulatedConv(ours.to_rgb), copy_of(ours.to_rgb.bias)
        self.first_row = ours.first_row


class TextbookGenerator(nn.Module):
    """The weights of ``ours``, in the textbook's arithmetic."""

    def __init__(self, ours: Generator) -> None:
        super().__init__()
        self.mapping_layers = nn.ModuleList(Linear(layer) for layer in ours.mapping.layers)
        self.const = copy_of(ours.synthesis.const[None])
        self.blocks = nn.ModuleList(Block(ours.synthesis.block(r)) for r in ours.config.resolutions)
        self.num_ws = ours.num_ws

    def mapping(self, z: Tensor) -> Tensor:
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping_layers:
            x = layer(x)
        return x

    def synthesis(self, ws: Tensor, noise: Noise) -> Tensor:
        x, rgb, maps = self.const.repeat(len(ws), 1, 1, 1), None, iter(noise)
        for block in self.blocks:
            for row, conv in enumerate(block.convs, block.first_row):
                x = conv(x, ws[:, row], next(maps))
            new = block.to_rgb(x, ws[:, block.first_row + len(block.convs)]) + block.rgb_bias.view(1, 3, 1, 1)
            rgb = new if rgb is None else new + fir(rgb, up=2, pad=(2, 1))
        assert rgb is not None
        return rgb


class Conv(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = copy_of(weight)
        self.bias = None if bias is None else copy_of(bias)
        self.scale = 1.0 / math.sqrt(weight[0].numel())

    @classmethod
    def of(cls, ours: OurConv) -> Conv:
        return cls(ours.weight, ours.bias)

    def forward(self, x: Tensor, stride: int = 1, pad: int = 0) -> Tensor:
        x = F.conv2d(x, self.weight * self.scale, stride=stride, padding=pad)
        return x if self.bias is None else activate(x, self.bias)


class ResidualBlock(nn.Module):
    def __init__(self, ours: DiscriminatorBlock) -> None:
        super().__init__()
        self.conv0, self.conv1, self.skip = Conv.of(ours.conv0), Conv.of(ours.conv1), Conv(ours.skip)

    def forward(self, x: Tensor) -> Tensor:
        main = self.conv1(fir(self.conv0(x, pad=1), pad=(2, 2)), stride=2)
        return (main + self.skip(fir(x, pad=(1, 1)), stride=2)) / math.sqrt(2.0)


class TextbookDiscriminator(nn.Module):
    """The weights of ``ours``, in the textbook's arithmetic."""

    def __init__(self, ours: Discriminator) -> None:
        super().__init__()
        self.from_rgb, self.conv = Conv.of(ours.from_rgb), Conv.of(ours.conv)
        self.blocks = nn.ModuleList(ResidualBlock(ours.blocks[str(r)]) for r in ours.config.resolutions)
        self.fc, self.out = Linear(ours.fc), Linear(ours.out)

    def forward(self, images: Tensor) -> Tensor:
        x = self.from_rgb(images)
        for block in self.blocks:
            x = block(x)
        n, c, height, width = x.shape
        group = min(n, 4)
        deviation = x.view(group, -1, c, height, width)
        deviation = torch.sqrt(deviation.var(0, unbiased=False) + 1e-8).mean([1, 2, 3], keepdim=True)
        x = torch.cat([x, deviation.repeat(group, 1, height, width)], 1)
        return self.out(self.fc(self.conv(x, pad=1).flatten(1)))


@torch.no_grad()
def assert_same_function(generator: Generator, discriminator: Discriminator, batch: int = 2) -> tuple[float, float]:
    """Compare both forms, noise included; returns the relative differences of images and of logits.

    Raises: AssertionError if one exceeds 1e-4.
    """
    random = torch.Generator().manual_seed(1)
    generator, discriminator = copy.deepcopy(generator), copy.deepcopy(discriminator)
    for parameter in [*generator.parameters(), *discriminator.parameters()]:
        if parameter.ndim < 2:  # biases and noise strengths start at zero, which would hide a mistake
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    z = torch.randn(batch, generator.config.z_dim, generator=random)
    noise = generator.synthesis.random_noise(batch, random)
    plain = TextbookGenerator(generator)
    ours = generator.synthesis(generator.broadcast(generator.mapping(z)), noise)
    theirs = plain.synthesis(plain.mapping(z)[:, None].repeat(1, plain.num_ws, 1), noise)
    logits, plain_logits = discriminator(ours), TextbookDiscriminator(discriminator)(ours.contiguous())
    image_error = float((ours - theirs).abs().max() / ours.abs().max())
    logit_error = float((logits - plain_logits).abs().max() / logits.abs().max())
    assert image_error < 1e-4, f"images differ by {image_error:.1e}"
    assert logit_error < 1e-4, f"logits differ by {logit_error:.1e}"
    return image_error, logit_error
