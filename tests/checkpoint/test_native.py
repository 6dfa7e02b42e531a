"""The native weight file: exact round trip, equal bytes, and damage of any kind named before use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from model.checkpoint.native import load_discriminator, load_generator, manifest_path, read_header, save_networks
from model.errors import CorruptInputError, DivergenceError, MissingInputError
from model.files import atomic_write_json, sha256_file
from tests.tiny import tiny_generator, tiny_networks

NOTES = {"command": "test", "kimg": 1.5, "parents": {"a": "b"}}


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    nets = tiny_networks()
    path = tmp_path / "networks.safetensors"
    save_networks(path, generator=nets.generator, discriminator=nets.discriminator, provenance=NOTES)
    return path


def reseal(path: Path) -> None:
    """Make the manifest agree with a file that was changed on purpose."""
    atomic_write_json(manifest_path(path), {"format": 1, "sha256": sha256_file(path), "bytes": path.stat().st_size})


def edited(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of a file and seal it again."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=header)
    reseal(path)


def test_networks_come_back_bit_for_bit_with_architecture_and_provenance(saved: Path) -> None:
    nets = tiny_networks()
    generator, discriminator, header = load_generator(saved), load_discriminator(saved), read_header(saved)
    assert same(generator, nets.generator)
    assert same(discriminator, nets.discriminator)
    assert (header.generator, header.discriminator) == (nets.generator.config, nets.discriminator.config)
    assert header.provenance == NOTES
    assert header.sha256 == sha256_file(saved) == json.loads(manifest_path(saved).read_text())["sha256"]
    assert not generator.training
    assert not discriminator.training


def test_equal_networks_give_equal_bytes_in_any_memory_format(saved: Path, tmp_path: Path) -> None:
    nets = tiny_networks()
    for network in (nets.generator, nets.discriminator):
        network.to(memory_format=torch.channels_last)
    other = tmp_path / "other" / "networks.safetensors"
    digest = save_networks(other, generator=nets.generator, discriminator=nets.discriminator, provenance=NOTES)
    assert other.read_bytes() == saved.read_bytes()
    assert digest == sha256_file(saved)


def test_loading_leaves_the_global_random_numbers_alone(saved: Path) -> None:
    before = torch.random.get_rng_state()
    load_generator(saved)
    load_discriminator(saved)
    assert torch.equal(before, torch.random.get_rng_state())


def test_loaded_networks_train(saved: Path) -> None:
    generator = load_generator(saved)
    images = generator.synthesis(generator.broadcast(torch.randn(2, 8)), generator.synthesis.const_noise())
    images.square().mean().backward()
    assert all(parameter.grad is not None for parameter in generator.synthesis.parameters())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_before_use(saved: Path, where: float, bit: int) -> None:
    good = saved.read_bytes()
    bad = bytearray(good)
    bad[int(where * len(bad))] ^= 1 << bit
    saved.write_bytes(bad)
    try:
        for read in (load_generator, load_discriminator, read_header):
            with pytest.raises(CorruptInputError, match=r"networks\.safetensors: sha256 .*damaged or edited"):
                read(saved)
    finally:
        saved.write_bytes(good)


@pytest.mark.parametrize("size", [0, 7, 100, 5000])
def test_a_truncated_file_is_named_with_both_sizes(saved: Path, size: int) -> None:
    whole = saved.stat().st_size
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(CorruptInputError, match=rf"{size} bytes, networks.safetensors.json says {whole}"):
        load_generator(saved)


def test_a_missing_file_or_manifest_says_what_to_do(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"absent\.safetensors: no such file"):
        load_generator(tmp_path / "absent.safetensors")
    manifest_path(saved).unlink()
    with pytest.raises(MissingInputError, match=r"networks.safetensors.json: missing.*copy it"):
        load_generator(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}'])
def test_a_broken_manifest_is_named(saved: Path, text: str) -> None:
    manifest_path(saved).write_text(text)
    with pytest.raises(CorruptInputError, match=r"networks\.safetensors\.json: broken"):
        load_generator(saved)


def test_another_format_number_is_named(saved: Path) -> None:
    content = json.loads(manifest_path(saved).read_text())
    atomic_write_json(manifest_path(saved), content | {"format": 2})
    with pytest.raises(CorruptInputError, match="format 2, this version reads 1"):
        load_generator(saved)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    reseal(path)
    with pytest.raises(CorruptInputError, match="this program did not write it"):
        read_header(path)


def test_a_file_without_the_network_asked_for_says_what_it_has(tmp_path: Path) -> None:
    nets = tiny_networks()
    save_networks(tmp_path / "g.safetensors", generator=nets.generator, provenance={})
    save_networks(tmp_path / "d.safetensors", discriminator=nets.discriminator, provenance={})
    with pytest.raises(MissingInputError, match="holds no discriminator"):
        load_discriminator(tmp_path / "g.safetensors")
    with pytest.raises(MissingInputError, match="holds no generator"):
        load_generator(tmp_path / "d.safetensors")


def test_tensors_that_do_not_fit_the_architecture_are_listed(saved: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["generator.synthesis.const"]
        tensors["generator.extra"] = torch.zeros(1)
        tensors["generator.w_avg"] = torch.zeros(3)
        tensors["generator.mapping.layers.0.bias"] = tensors["generator.mapping.layers.0.bias"].half()

    edited(saved, change)
    with pytest.raises(CorruptInputError) as caught:
        load_generator(saved)
    for part in (
        "4 entries do not fit",
        "synthesis.const: missing, expected [16, 4, 4]",
        "extra: unknown entry",
        "w_avg: found shape [3], expected [8]",
        "mapping.layers.0.bias: found float16, expected float32",
    ):
        assert part in str(caught.value)
    load_discriminator(saved)


def test_at_most_ten_mismatches_are_listed_and_a_model_of_another_size_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    save_networks(path, generator=tiny_generator(resolution=64), provenance={})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(rb"\"resolution\": 64", rb"\"resolution\": 32")
    path.write_bytes(data[:8] + header + data[8 + length :])
    reseal(path)
    with pytest.raises(
        CorruptInputError, match=r"and \d+ more\. The tensors look like a 64 px model, .* 32 px"
    ) as caught:
        load_generator(path)
    assert str(caught.value).count("unknown entry") == 10


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_neither_written_nor_read(saved: Path, tmp_path: Path, value: float) -> None:
    generator = tiny_generator()
    with torch.no_grad():
        generator.synthesis.const[0, 0, 0] = value
    with pytest.raises(DivergenceError, match=r"generator\.synthesis\.const has values that are not finite"):
        save_networks(tmp_path / "bad.safetensors", generator=generator, provenance={})
    assert list(tmp_path.glob("*bad*")) == []
    edited(saved, lambda tensors: tensors["generator.synthesis.const"].fill_(value))
    with pytest.raises(CorruptInputError, match=r"synthesis\.const: has values that are not finite"):
        load_generator(saved)


def test_what_cannot_be_kept_is_refused_before_writing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name ending in \.safetensors"):
        save_networks(tmp_path / "g.pt", generator=tiny_generator(), provenance={})
    with pytest.raises(ValueError, match="at least one network"):
        save_networks(tmp_path / "g.safetensors", provenance={})
    with pytest.raises(ValueError, match=r"torch.float64, expected torch\.float32"):
        save_networks(tmp_path / "g.safetensors", generator=tiny_generator().double(), provenance={})
    assert list(tmp_path.iterdir()) == []
