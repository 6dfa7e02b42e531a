"""The networks compute what rosinality's implementation computes: forward, first and second derivatives.

References at 32 and 64 px are float64 results stored as float32; at 256 px they are float32. Float32 tolerances are
those of the references' own rounding. Derivatives by noise strengths are sums with cancellation: they get an absolute
floor.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.checkpoint.rosinality_keys import Entry, discriminator_entries, generator_entries
from model.latents.truncation import truncate
from tests.golden.reference import Reference, load_reference

EXACT, SINGLE = torch.float64, torch.float32
FORWARD = {EXACT: 1e-5, SINGLE: 2e-5}  # relative to the largest number of an array
SECOND = {"r1": {EXACT: 1e-5, SINGLE: 5e-5}, "path_lengths": {EXACT: 1e-5, SINGLE: 5e-5}}
NORM = {EXACT: 1e-5, SINGLE: 1e-3}
NOISE_NORM = {EXACT: 1e-5, SINGLE: 2e-2}
PATHS_256 = 3e-4  # that reference is single precision itself: its path lengths lie 2.1e-4 from ours in double
CASES = [
    pytest.param(("32_cm1", EXACT), id="32-float64", marks=pytest.mark.slow),
    pytest.param(("32_cm1", SINGLE), id="32-float32"),
    pytest.param(("64_cm2", EXACT), id="64-float64", marks=pytest.mark.slow),
    pytest.param(("256_cm2", SINGLE), id="256-float32", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CASES)
def reference(request: pytest.FixtureRequest) -> Reference:
    return load_reference(*request.param)


def assert_close(reference: Reference, name: str, found: Tensor, tolerance: float) -> None:
    expected = torch.as_tensor(reference.arrays[name]).to(torch.float64)
    found = found.detach().to(torch.float64)
    assert found.shape == expected.shape, name
    error = ((found - expected).abs().max() / expected.abs().max()).item()
    assert error <= tolerance, f"{name}: relative error {error:.2e}"


def assert_norms(reference: Reference, name: str, loss: Tensor, network: nn.Module, entries: Iterable[Entry]) -> None:
    """Compare the norm of d loss / d parameter for every parameter; one without a reference must have no gradient."""
    expected, theirs = reference.norms(name), {entry.ours: entry.theirs for entry in entries}
    parameters = dict(network.named_parameters())
    assert {theirs[ours] for ours in parameters} >= set(expected)
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True)
    loudest = max((value for key, value in expected.items() if key.endswith("noise.weight")), default=0.0)
    for ours, gradient in zip(parameters, gradients, strict=True):
        key = theirs[ours]
        found = 0.0 if gradient is None else gradient.norm().item()
        wanted = expected.get(key, 0.0)
        allowed = NORM[reference.dtype] * wanted
        if key.endswith("noise.weight"):
            allowed = NOISE_NORM[reference.dtype] * wanted + NORM[reference.dtype] * loudest
        assert abs(found - wanted) <= allowed, f"{name} {key}: found {found}, expected {wanted}"


def moments(images: Tensor) -> Tensor:
    return torch.stack([images.flatten(1).mean(1), images.flatten(1).std(1)])


@torch.no_grad()
def test_styles_mixed_and_truncated_images_equal_the_reference(reference: Reference) -> None:
    tolerance = FORWARD[reference.dtype]
    generator, ws = reference.generator, reference.ws.detach()
    noise = generator.synthesis.const_noise()
    assert_close(reference, "w1", ws[:, 0], tolerance)
    truncated = truncate(ws, reference.given("mean_w", 1, 512)[0], 0.7)
    assert_close(reference, "image_psi07_stats", moments(generator.synthesis(truncated, noise)), tolerance)
    others = generator.broadcast(generator.mapping(reference.given("z2", len(ws), 512)))
    mixture = generator.synthesis(torch.cat([ws[:, :3], others[:, 3:]], 1), noise)
    assert_close(reference, "image_mix3_stats", moments(mixture), tolerance)
    assert_close(reference, "image_mix3_corner", mixture[:, :, :8, :8], tolerance)


def test_features_accumulated_rgb_images_and_logits_equal_the_reference(reference: Reference) -> None:
    tolerance = FORWARD[reference.dtype]
    for out in reference.outputs:
        for name, maps in ((f"feat{out.resolution}", out.features), (f"rgb{out.resolution}", out.rgb)):
            mean, std = moments(maps)
            assert_close(reference, f"{name}_mean", mean, tolerance)
            assert_close(reference, f"{name}_std", std, tolerance)
            assert_close(reference, f"{name}_corner", maps[:, :3, :4, :4], tolerance)
        if out.resolution <= 16:
            assert_close(reference, f"rgb{out.resolution}", out.rgb, tolerance)
    assert_close(reference, "image", reference.outputs[-1].rgb[: len(reference.arrays["image"])], tolerance)
    assert_close(reference, "d_logits_real", reference.real_logits, tolerance)
    assert_close(reference, "d_logits_fake", reference.fake_logits, tolerance)


def test_r1_and_its_gradient_by_every_parameter_equal_the_reference(reference: Reference) -> None:
    network = reference.discriminator
    (gradient,) = torch.autograd.grad(reference.real_logits.sum(), reference.real, create_graph=True)
    r1 = gradient.square().sum((1, 2, 3)).mean()
    assert_close(reference, "r1", r1, SECOND["r1"][reference.dtype])
    assert_norms(reference, "r1_gradnorms", r1, network, discriminator_entries(network.config))


def test_path_lengths_and_their_gradient_by_every_parameter_equal_the_reference(reference: Reference) -> None:
    network, size = reference.generator, reference.meta["size"]
    directions = reference.given("pl_noise", len(reference.ws), 3, size, size) / size
    along = (reference.outputs[-1].rgb * directions).sum()
    (gradient,) = torch.autograd.grad(along, reference.ws, create_graph=True)
    lengths = gradient.square().sum(2).mean(1).sqrt()
    tolerance = PATHS_256 if size == 256 else SECOND["path_lengths"][reference.dtype]
    assert_close(reference, "path_lengths", lengths, tolerance)
    assert_norms(reference, "pl_gradnorms", lengths.square().mean(), network, generator_entries(network.config))


def test_generator_loss_and_its_gradient_by_every_parameter_equal_the_reference(reference: Reference) -> None:
    network = reference.generator
    loss = F.softplus(-reference.fake_logits).mean()
    assert_close(reference, "g_loss", loss, FORWARD[reference.dtype])
    assert_norms(reference, "g_gradnorms", loss, network, generator_entries(network.config))
