"""Features stay in channels_last order, the one that convolutions on a CPU are fast in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.networks.generator import Generator, GeneratorConfig
from model.networks.layers import ModulatedConv


def in_fast_order(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def test_every_block_of_the_generator_returns_features_and_passes_gradients_in_channels_last_order() -> None:
    torch.manual_seed(0)
    generator, orders = Generator(GeneratorConfig(32, 8, 8, 1, 256, 16)), []
    blocks = list(generator.synthesis.walk(torch.randn(2, generator.num_ws, 8), generator.synthesis.const_noise()))
    for block in blocks:
        assert in_fast_order(block.features), block.resolution
        block.features.register_hook(lambda gradient: orders.append(in_fast_order(gradient)))
    blocks[-1].rgb.square().sum().backward()
    assert orders == [True] * len(blocks)


@pytest.mark.parametrize("up", [False, True])
def test_a_styled_convolution_gives_the_same_numbers_for_features_in_either_order(up: bool) -> None:
    torch.manual_seed(0)
    conv, x, w = ModulatedConv(3, 5, 4, 8, up=up), torch.randn(2, 3, 4 if up else 8, 4 if up else 8), torch.randn(2, 4)
    plain, fast = conv(x, w, None), conv(x.contiguous(memory_format=torch.channels_last), w, None)
    assert in_fast_order(plain)
    assert torch.equal(plain, fast)
