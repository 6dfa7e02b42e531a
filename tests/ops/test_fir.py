"""The low-pass filter against its plain definition, sizes, DC gain, second derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from model.networks.layers import Conv, Linear, ModulatedConv, ToRgb, minibatch_stddev, pixel_norm
from model.ops.fir import low_pass, upsample

TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8


def white(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("down", [1, 2])
@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_low_pass_is_the_full_convolution_cut_and_strided(pad: int, down: int, gain: float) -> None:
    x = white(2, 3, 9, 9)
    kernel = np.outer(TAPS, TAPS) * gain
    plain = np.stack(
        [[signal.convolve2d(np.pad(c.numpy(), pad), kernel, mode="valid")[::down, ::down] for c in n] for n in x]
    )
    np.testing.assert_allclose(low_pass(x, pad, down=down, gain=gain).numpy(), plain, rtol=1e-12, atol=1e-14)


def test_upsample_is_zero_stuffing_and_the_filter_with_gain_four() -> None:
    x = white(1, 2, 5, 5)
    stuffed = np.zeros((2, 10, 10))
    stuffed[:, ::2, ::2] = x[0].numpy()
    kernel = np.outer(TAPS, TAPS) * 4
    plain = np.stack([signal.convolve2d(np.pad(c, ((2, 1), (2, 1))), kernel, mode="valid") for c in stuffed])
    np.testing.assert_allclose(upsample(x)[0].numpy(), plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("pad", [0, 1, 2, 3, 4])
def test_the_filters_derivative_is_its_transpose_at_every_padding(pad: int) -> None:
    x = white(2, 3, 9, 8).requires_grad_()
    y = low_pass(x, pad)
    gradient = white(*y.shape)
    kernel = torch.from_numpy(np.outer(TAPS, TAPS)).expand(3, 1, 4, 4)
    expected = torch.nn.functional.conv_transpose2d(gradient, kernel, padding=pad, groups=3)
    (found,) = torch.autograd.grad(y, x, gradient)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_a_constant_image_stays_constant() -> None:
    x = torch.full((1, 2, 12, 12), 0.7, dtype=torch.float64)
    assert torch.allclose(low_pass(x, 0), torch.full((1, 2, 9, 9), 0.7, dtype=torch.float64))
    assert torch.allclose(upsample(x)[..., 2:-2, 2:-2], torch.full((1, 2, 20, 20), 0.7, dtype=torch.float64))


@pytest.mark.parametrize("size", [4, 8, 16])
def test_the_upsampling_convolution_doubles_the_size(size: int) -> None:
    conv = ModulatedConv(3, 5, 4, 2 * size, up=True)
    noise = torch.zeros(1, 1, 2 * size, 2 * size)
    assert conv(torch.randn(2, 3, size, size), torch.randn(2, 4), noise).shape == (2, 5, 2 * size, 2 * size)


@pytest.mark.parametrize("up", [False, True])
def test_the_modulated_convolution_equals_one_weight_per_sample(up: bool) -> None:
    conv = ModulatedConv(3, 5, 4, 8, up=up).double()
    torch.nn.init.normal_(conv.bias)
    torch.nn.init.normal_(conv.noise_strength)
    size = 4 if up else 8
    x, w, noise = white(2, 3, size, size), white(2, 4), white(1, 1, 8, 8)
    for i in range(2):
        weight = conv.weight / np.sqrt(27) * conv.affine(w[i : i + 1])[0][None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:
            y = torch.nn.functional.conv_transpose2d(x[i : i + 1], weight.transpose(0, 1), stride=2)
            y = low_pass(y, 1, gain=4.0)
        else:
            y = torch.nn.functional.conv2d(x[i : i + 1], weight, padding=1)
        y = y + conv.noise_strength * noise + conv.bias[:, None, None]
        expected = torch.nn.functional.leaky_relu(y, 0.2) * np.sqrt(2)
        assert torch.allclose(conv(x[i : i + 1], w[i : i + 1], noise), expected, rtol=1e-9, atol=1e-12)


def _modulated(up: bool) -> tuple[torch.nn.Module, tuple[Tensor, ...]]:
    size = 2 if up else 4
    return ModulatedConv(2, 2, 3, 4, up=up).double(), (white(1, 2, size, size), white(1, 3), white(1, 1, 4, 4))


CASES = {
    "low_pass": (lambda x: low_pass(x, 1, down=2), (white(1, 2, 5, 5),)),
    "low_pass_stride_1": (lambda x: low_pass(x, 2, gain=4.0), (white(1, 2, 4, 3),)),
    "upsample": (upsample, (white(1, 2, 3, 3),)),
    "pixel_norm": (pixel_norm, (white(2, 4),)),
    "minibatch_stddev": (minibatch_stddev, (white(4, 2, 2, 2),)),
    "linear": (Linear(3, 2, activate=True).double(), (white(2, 3),)),
    "conv": (Conv(2, 2, 3).double(), (white(1, 2, 4, 4),)),
    "modulated": _modulated(False),
    "modulated_up": _modulated(True),
    "to_rgb": (ToRgb(2, 3).double(), (white(1, 2, 3, 3), white(1, 3))),
}


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives_are_right(name: str) -> None:
    function, inputs = CASES[name]
    given = tuple(x.clone().requires_grad_() for x in inputs)
    assert gradcheck(function, given)
    assert gradgradcheck(function, given)
