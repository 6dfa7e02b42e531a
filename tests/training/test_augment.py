"""Discriminator augmentation as a whole: what is drawn and switched, the colours, the gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.profiler import profile

from model.training.augment import ALL, COLOUR, GEOMETRY, Draws, augment, colour_maps, inverse_maps
from model.training.augment_colour import LUMA
from model.training.augment_geometry import identity

MANY = 2_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def colours_of(name: str, p: float = 1.0) -> Tensor:
    return colour_maps(Draws.take(MANY, generator()), p, frozenset({name}))


def test_at_probability_0_the_images_themselves_come_back_and_nothing_is_drawn_or_computed() -> None:
    images, random = torch.randn(4, 3, 16, 16, requires_grad=True), generator()
    before = random.get_state()
    with profile() as watched:
        assert augment(images, 0.0, random) is images
    assert [event.key for event in watched.key_averages() if event.key.startswith("aten::")] == []
    assert torch.equal(random.get_state(), before)


def test_at_probability_1_with_nothing_allowed_nothing_happens() -> None:
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(augment(images, 1.0, generator(), allowed=frozenset()), images)


def test_the_same_generator_gives_the_same_images_and_another_does_not() -> None:
    images = torch.randn(4, 3, 16, 16)
    first = augment(images, 0.8, generator(1))
    assert torch.equal(first, augment(images, 0.8, generator(1)))
    assert not torch.equal(first, augment(images, 0.8, generator(2)))


@pytest.mark.parametrize("p", [0.3, 1.0])
@pytest.mark.parametrize("allowed", [frozenset(), frozenset({"hue"}), ALL])
def test_what_is_drawn_depends_on_the_batch_size_alone(p: float, allowed: frozenset[str]) -> None:
    random, reference = generator(), generator()
    augment(torch.zeros(4, 3, 16, 16), p, random, allowed=allowed)
    Draws.take(4, reference)
    assert torch.equal(random.get_state(), reference.get_state())


def test_a_transformation_that_happens_at_a_low_probability_happens_at_every_higher_one() -> None:
    draws = Draws.take(500, generator())
    moved = [(inverse_maps(draws, p, torch.Size((64, 64))) != torch.eye(3)).flatten(1).any(1) for p in (0.1, 0.4)]
    assert moved[0].any()
    assert bool((moved[1] | ~moved[0]).all())


@pytest.mark.parametrize("name", GEOMETRY + COLOUR)
def test_every_transformation_can_be_switched_on_alone(name: str) -> None:
    draws, only = Draws.take(200, generator()), frozenset({name})
    size = torch.Size((64, 64))
    assert torch.equal(inverse_maps(draws, 1.0, size, only), identity(200)) == (name in COLOUR)
    assert torch.equal(colour_maps(draws, 1.0, only), torch.eye(4).double().repeat(200, 1, 1)) == (name in GEOMETRY)


def test_a_wrong_probability_or_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"p: found 1\.5"):
        augment(torch.zeros(1, 3, 8, 8), 1.5, generator())
    with pytest.raises(ValueError, match="cutout"):
        augment(torch.zeros(1, 3, 8, 8), 0.5, generator(), allowed=frozenset({"cutout"}))


def test_brightness_adds_the_same_number_to_all_channels() -> None:
    maps = colours_of("brightness")
    assert bool((maps[:, :3, 3] == maps[:, :1, 3]).all())
    torch.testing.assert_close(maps[:, :3, :3], torch.eye(3).double().expand(MANY, 3, 3))


def test_contrast_multiplies_all_channels_by_the_same_factor() -> None:
    maps = colours_of("contrast")
    torch.testing.assert_close(maps[:, :3, :3], maps[:, :1, :1] * torch.eye(3).double())


def test_mirroring_luma_keeps_colour() -> None:
    maps = colours_of("luma_flip")[:, :3, :3]
    grey = (maps @ LUMA) @ LUMA
    torch.testing.assert_close(grey.abs(), torch.ones(MANY, dtype=torch.float64))
    red_minus_green = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(maps @ red_minus_green, red_minus_green.expand(MANY, 3))


def test_hue_turns_about_the_greys() -> None:
    maps = colours_of("hue")[:, :3, :3]
    torch.testing.assert_close(maps @ LUMA, LUMA.expand(MANY, 3))
    torch.testing.assert_close(maps @ maps.transpose(1, 2), torch.eye(3).double().expand(MANY, 3, 3))


def test_saturation_stretches_colour_and_keeps_luma() -> None:
    maps = colours_of("saturation")[:, :3, :3]
    torch.testing.assert_close(maps @ LUMA, LUMA.expand(MANY, 3))
    red_minus_green = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    factor = (maps @ red_minus_green)[:, :1]
    torch.testing.assert_close(maps @ red_minus_green, factor * red_minus_green)


def test_colours_change_every_pixel_by_the_same_map() -> None:
    images = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    changed = augment(images, 1.0, generator(5), allowed=frozenset(COLOUR))
    maps = colour_maps(Draws.take(3, generator(5)), 1.0)
    wanted = torch.einsum("nij,njhw->nihw", maps[:, :3, :3], images) + maps[:, :3, 3, None, None]
    torch.testing.assert_close(changed, wanted)


def test_brightness_comes_before_contrast() -> None:
    draws = Draws.take(5, generator())
    both = colour_maps(draws, 1.0, frozenset({"brightness", "contrast"}))
    alone = [colour_maps(draws, 1.0, frozenset({name})) for name in ("brightness", "contrast")]
    torch.testing.assert_close(both[:, 0, 3], alone[0][:, 0, 3] * alone[1][:, 0, 0])


def test_first_and_second_derivatives_are_right() -> None:
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)

    def moved(x: Tensor) -> Tensor:
        return augment(x, 0.9, generator(3))

    assert torch.autograd.gradcheck(moved, (images,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: moved(x).square().sin(), (images,), fast_mode=True)


def test_a_gradient_penalty_through_the_augmentation_reaches_the_weights() -> None:
    weight = torch.randn(5, 3, 3, 3, requires_grad=True)
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    logits = torch.nn.functional.conv2d(augment(images, 0.7, generator()), weight).square().sum()
    (gradient,) = torch.autograd.grad(logits, images, create_graph=True)
    (reached,) = torch.autograd.grad(gradient.square().sum(), weight)
    assert bool(reached.isfinite().all())
    assert float(reached.abs().sum()) > 0
