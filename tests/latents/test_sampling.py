"""Latents from seeds and files: an image depends on its own number alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.errors import CorruptInputError, MissingInputError, UsageError
from model.latents.sampling import Space, noise_maps, parse_seeds, read_latents, seeded_noise, seeded_z, to_ws
from tests.tiny import tiny_generator


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_a_row_of_z_depends_on_its_seed_alone(seeds: list[int]) -> None:
    together = seeded_z(seeds, 16)
    for row, seed in enumerate(seeds):
        assert torch.equal(together[row : row + 1], seeded_z([seed], 16))


def test_seeds_give_independent_standard_normal_numbers() -> None:
    z = seeded_z(range(2000), 64)
    assert z.dtype == torch.float32
    assert z.mean().item() == pytest.approx(0.0, abs=0.01)
    assert z.std().item() == pytest.approx(1.0, abs=0.01)
    assert torch.corrcoef(z.t()).fill_diagonal_(0).abs().max() < 0.12


def test_the_stream_of_a_seed_never_changes() -> None:
    expected = torch.tensor(STREAM_OF_SEED_0)
    assert torch.allclose(seeded_z([0], 4)[0], expected, atol=1e-6)


STREAM_OF_SEED_0 = [0.059911, 0.0155596, -1.1644385, -0.1326471]


def test_noise_depends_on_the_seed_and_the_convolution_alone() -> None:
    generator = tiny_generator()
    both, one = seeded_noise(generator, [3, 4]), seeded_noise(generator, [4])
    for a, b, conv in zip(both, one, generator.synthesis.convs(), strict=True):
        assert a is not None
        assert b is not None
        assert a.shape == (2, *conv.noise_const.shape[1:])
        assert torch.equal(a[1:], b)
    assert not torch.equal(both[1], both[2])  # type: ignore[arg-type]
    assert noise_maps(generator, "none", [1]) == [None] * 7
    assert all(
        a is b for a, b in zip(noise_maps(generator, "const", [1]), generator.synthesis.const_noise(), strict=True)
    )


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-3", [0, 1, 2, 3]), ("7", [7]), ("3, 7,20-22", [3, 7, 20, 21, 22]), ("5-5", [5])]
)
def test_lists_and_ranges_of_seeds_are_read(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "-1", "1.5", "0-99999999"])
def test_what_is_no_list_of_seeds_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="seeds: "):
        parse_seeds(text)


def saved(tmp_path: Path, values: object) -> Path:
    path = tmp_path / "latents.npy"
    np.save(path, np.asarray(values))
    return path


@pytest.mark.parametrize(("space", "shape"), [("z", (3, 8)), ("w", (3, 8)), ("w+", (3, 8, 8))])
def test_every_space_becomes_styles_of_every_row(tmp_path: Path, space: Space, shape: tuple[int, ...]) -> None:
    generator = tiny_generator()
    values = np.random.default_rng(0).standard_normal(shape)
    latents = read_latents(saved(tmp_path, values), space, generator)
    ws = to_ws(generator, latents, space)
    assert ws.shape == (3, 8, 8)
    with torch.no_grad():
        expected = {"z": lambda: generator.mapping(latents), "w": lambda: latents, "w+": lambda: latents}[space]()
    assert torch.equal(ws[:, 0], expected if space != "w+" else expected[:, 0])


@pytest.mark.parametrize(
    ("values", "space", "message"),
    [
        (np.zeros((3, 7)), "z", r"found float64 \[3, 7\], expected floats \[N, 8\] for z"),
        (np.zeros((3, 8)), "w+", r"expected floats \[N, 8, 8\] for w\+"),
        (np.zeros((3, 8), np.int64), "z", "found int64"),
        (np.zeros((0, 8)), "z", "expected floats"),
        (np.full((3, 8), np.nan), "z", "not finite"),
        (np.array([{"a": 1}]), "z", "not a readable"),
    ],
)
def test_latents_that_do_not_fit_are_named(tmp_path: Path, values: object, space: Space, message: str) -> None:
    with pytest.raises(CorruptInputError, match=message):
        read_latents(saved(tmp_path, values), space, tiny_generator())


def test_an_absent_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        read_latents(tmp_path / "absent.npy", "z", tiny_generator())
    path = tmp_path / "latents.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(CorruptInputError, match=r"not a readable \.npy"):
        read_latents(path, "z", tiny_generator())
