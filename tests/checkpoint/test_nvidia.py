"""NVIDIA's ``.pkl``: the same networks as through rosinality's format, and nothing in the file ever runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint.inert import read_inert
from model.checkpoint.nvidia import read_nvidia
from model.checkpoint.rosinality import state_of_discriminator, state_of_generator
from model.errors import CorruptInputError, MissingInputError
from tests.checkpoint.nvidia_files import their_modules, write_tensorflow, write_torch
from tests.checkpoint.test_rosinality import Malice
from tests.golden.reference import load_reference
from tests.tiny import tiny_networks


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


WRITERS = {"torch": write_torch, "tensorflow": write_tensorflow}


@pytest.mark.parametrize("kind", WRITERS)
def test_both_networks_come_out_bit_for_bit(tmp_path: Path, kind: str) -> None:
    nets = tiny_networks()
    nets.generator.w_avg.normal_()
    path = WRITERS[kind](tmp_path / "network.pkl", nets.generator, nets.discriminator)
    generator, discriminator, notes = read_nvidia(path)
    assert generator.config == nets.generator.config
    assert discriminator is not None
    assert same(state_of_discriminator(discriminator), state_of_discriminator(nets.discriminator))
    ours, theirs = state_of_generator(generator), state_of_generator(nets.generator)
    if kind == "tensorflow":  # its style biases are stored without their 1, which costs a rounding
        for name in [name for name in theirs if name.endswith("modulation.bias")]:
            torch.testing.assert_close(ours.pop(name), theirs.pop(name), rtol=1e-6, atol=1e-7)
    assert same(ours, theirs)
    assert torch.equal(generator.w_avg, nets.generator.w_avg)
    assert notes["format"] == {"torch": "nvidia-pytorch", "tensorflow": "nvidia-tensorflow"}[kind]
    assert len(notes["sha256"]) == 64


@pytest.mark.parametrize("kind", WRITERS)
def test_the_raw_generator_is_another_one(tmp_path: Path, kind: str) -> None:
    nets = tiny_networks()
    path = WRITERS[kind](tmp_path / "network.pkl", nets.generator, nets.discriminator)
    torch.testing.assert_close(read_nvidia(path, "g")[0].w_avg, nets.generator.w_avg + 1)


@pytest.mark.slow
def test_a_recipe_model_in_a_file_gives_the_reference_picture(tmp_path: Path) -> None:
    reference = load_reference("32_cm1", torch.float32)
    for kind, write in WRITERS.items():
        path = write(tmp_path / f"{kind}.pkl", reference.generator, reference.discriminator)
        generator, discriminator, _ = read_nvidia(path)
        assert discriminator is not None
        with torch.no_grad():
            ws = generator.broadcast(generator.mapping(reference.given("z1", reference.meta["batch"], 512)))
            image = generator.synthesis(ws, generator.synthesis.const_noise())
            logits = discriminator(image.tanh())
        expected = torch.from_numpy(reference.arrays["image"])
        assert (image[: len(expected)] - expected).abs().max() <= 2e-5 * expected.abs().max()
        wanted = torch.from_numpy(reference.arrays["d_logits_fake"])
        assert (logits - wanted).abs().max() <= 2e-5 * wanted.abs().max()


def test_a_half_precision_clamp_is_told_and_a_missing_discriminator_is_none(tmp_path: Path) -> None:
    path = write_torch(tmp_path / "network.pkl", tiny_networks().generator, None)
    _, discriminator, notes = read_nvidia(path)
    assert discriminator is None
    assert notes["conv_clamp"].startswith("256, not applied")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("mapping.embed.weight", torch.zeros(8, 3), "class-conditional"),
        ("synthesis.input.freqs", torch.zeros(8, 2), "StyleGAN3 generator"),
        ("synthesis.b8.torgb.resample_filter", torch.ones(4, 4), "another filter than"),
        ("synthesis.b8.conv0.resample_filter", torch.ones(12), "another filter than"),
        ("synthesis.b8.extra.weight", torch.ones(1), "synthesis.b8.extra.weight: unknown entry"),
        ("synthesis.b8.conv1.weight", torch.zeros(16, 16, 1, 1), r"convs.1.conv.weight: found shape"),
        ("synthesis.b8.conv1.noise_strength", torch.zeros(3), r"convs.1.noise.weight: found shape"),
    ],
)  # fmt: skip
def test_another_architecture_is_named(tmp_path: Path, name: str, tensor: torch.Tensor, message: str) -> None:
    path = write_torch(tmp_path / "network.pkl", tiny_networks().generator, None, **{name: tensor})
    with pytest.raises(CorruptInputError, match=message):
        read_nvidia(path)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "network.pkl"
    with pytest.raises(MissingInputError, match="no such file"):
        read_nvidia(path)
    whole = write_torch(path, tiny_networks().generator, None).read_bytes()
    for content in (b"", b"<!DOCTYPE html><html>quota", whole[:-100], whole[: len(whole) // 2], os.urandom(200)):
        path.write_bytes(content)
        with pytest.raises(CorruptInputError, match=r"network\.pkl: "):
            read_nvidia(path)
    for other in ({"a": 1}, [1, 2], (1, 2, 3), {"G_ema": {"a": 1}}):
        path.write_bytes(pickle.dumps(other))
        with pytest.raises(CorruptInputError, match="a pickle of something else"):
            read_nvidia(path)


def evil(canary: Path) -> dict[str, Any]:
    """Programs that would make the file ``canary``, by what they ask for."""
    command = f"touch {canary}"
    inner = pickle.dumps(Malice(os.system, command), protocol=2)
    return {
        "posix.system": Malice(os.system, command),
        "builtins.eval": Malice(eval, f"open({str(canary)!r}, 'w')"),
        "builtins.exec": Malice(exec, f"open({str(canary)!r}, 'w')"),
        "builtins.getattr": Malice(getattr, "os", "upper"),
        "io.open": Malice(open, str(canary), "w"),
        "numpy.load": Malice(np.load, str(canary), None, True),
        "torch.serialization.load": Malice(torch.load, str(canary)),
        "_pickle.loads": Malice(pickle.loads, inner),
    }


@pytest.mark.parametrize("name", list(evil(Path("x"))))
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_program_in_a_file_is_refused_and_nothing_runs(tmp_path: Path, name: str, protocol: int) -> None:
    canary, path = tmp_path / "canary", tmp_path / "network.pkl"
    for content in (evil(canary)[name], {"G_ema": [evil(canary)[name]]}):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(CorruptInputError, match=r"refused, it asks for .*nothing was executed"):
            read_inert(path, "test pickle")
    assert not canary.exists()


def test_a_program_inside_a_storage_an_array_or_a_state_is_refused_too(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "network.pkl"
    malice = Malice(os.system, f"touch {canary}")
    torch.save(malice, tmp_path / "inner.pt", _use_new_zipfile_serialization=False)
    inner = (tmp_path / "inner.pt").read_bytes()
    load = torch.storage._load_from_bytes  # type: ignore[attr-defined]
    scalar = np.float64(1).__reduce__()[0]
    for content in (
        Malice(load, inner),
        Malice(scalar, np.dtype("O"), pickle.dumps(malice)),
        np.array([malice], dtype=object),
        Malice(np.dtype, "O"),
    ):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(CorruptInputError):
            read_inert(path, "test pickle")
    with their_modules() as modules:
        path.write_bytes(pickle.dumps(modules["EasyDict"](state=malice)))
    with pytest.raises(CorruptInputError, match=r"posix\.system"):
        read_inert(path, "test pickle")
    assert not canary.exists()


def outside(change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Malice:
    function, arguments = torch.arange(6.0).__reduce_ex__(2)[:2]
    return Malice(function, *change(arguments))


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((7,), (1,), 0), ((3,), (1,), 4), ((3,), (3,), 0), ((2,), (-1,), 3), ((2,), (1,), -1), ((10**6,), (0,), 0)],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    path = tmp_path / "network.pkl"
    path.write_bytes(pickle.dumps(outside(lambda given: (given[0], offset, size, stride, *given[4:]))))
    with pytest.raises(CorruptInputError, match="truncated or not a pickle"):
        read_inert(path, "test pickle")
    path.write_bytes(pickle.dumps(outside(lambda given: (given[0], 1, (2, 2), (2, 1), *given[4:]))))
    assert torch.equal(read_inert(path, "test pickle"), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_of_any_order_and_endianness_are_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "network.pkl"
    arrays = [
        np.arange(6, dtype=">f4").reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(3, np.int64), np.zeros((0, 2), np.float32),
    ]  # fmt: skip
    shared = arrays[0]
    path.write_bytes(pickle.dumps((arrays, (shared, {"a": shared}), np.float32(0.5)), protocol=protocol))
    found, (one, two), number = read_inert(path, "test pickle")
    for array, read in zip(arrays, found, strict=True):
        assert np.array_equal(array, read)
        assert read.shape == array.shape
    assert np.array_equal(one, shared)
    assert np.array_equal(two["a"], shared)
    assert number == 0.5
