"""rosinality's ``.pt``: exact round trips, old files, and nothing untrusted ever runs."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.checkpoint.native import load_discriminator, load_generator, save_networks
from model.checkpoint.rosinality import (
    generator_from_state,
    read_rosinality,
    state_of_discriminator,
    state_of_generator,
    write_rosinality,
)
from model.checkpoint.rosinality_keys import (
    discriminator_entries,
    discriminator_kernels,
    generator_entries,
    generator_kernels,
    noise_entries,
)
from model.errors import CorruptInputError, DivergenceError, MissingInputError
from model.networks.discriminator import DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig
from tests.checkpoint.test_native import same
from tests.golden.reference import FOLDER, load_reference
from tests.tiny import tiny_generator, tiny_networks


@pytest.fixture
def content() -> dict[str, Any]:
    """A training checkpoint as the original programs write it."""
    nets = tiny_networks()
    raw = state_of_generator(tiny_generator(seed=1))
    return {
        "g": raw,
        "d": state_of_discriminator(nets.discriminator),
        "g_ema": state_of_generator(nets.generator),
        "g_optim": {
            "state": {0: {"step": 3, "exp_avg": torch.zeros(2)}},
            "param_groups": [{"lr": 0.002, "params": [0]}],
        },
        "d_optim": {"state": {}, "param_groups": []},
        "args": argparse.Namespace(size=32, n_mlp=2, lr=0.002, wandb=False, freezeD=3, path="data"),
        "ada_aug_p": 0.25,
    }


def stored(tmp_path: Path, content: Any, **options: Any) -> Path:
    path = tmp_path / "weights.pt"
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("name", ["32_cm1", "64_cm2", "256_cm2"])
def test_names_shapes_and_filters_are_those_of_the_original_programs(name: str) -> None:
    with np.load(FOLDER / f"stylegan2_{name}.npz") as file:
        meta = json.loads(str(file["meta"]))
    base = 16384 * meta["channel_multiplier"]
    ours = GeneratorConfig(meta["size"], 512, 512, 8, base, 512)
    entries = {e.theirs: list(e.shape) for e in [*generator_entries(ours), *noise_entries(ours)]}
    assert entries | {key: [4, 4] for key in generator_kernels(ours)} == meta["g_shapes"]
    judge = DiscriminatorConfig(meta["size"], base, 512)
    shapes = {e.theirs: list(e.shape) for e in discriminator_entries(judge)}
    assert shapes | {key: [4, 4] for key in discriminator_kernels(judge)} == meta["d_shapes"]


@pytest.mark.parametrize(("size", "keys"), [(64, 99), (128, 117), (256, 135), (512, 153), (1024, 171)])
def test_a_generator_has_as_many_entries_as_the_original(size: int, keys: int) -> None:
    config = GeneratorConfig(size, 512, 512, 8, 32768, 512)
    entries = [*generator_entries(config), *noise_entries(config)]
    assert len(entries) + len(generator_kernels(config)) == keys
    judge = DiscriminatorConfig(size, 32768, 512)
    assert len(list(discriminator_entries(judge))) + len(discriminator_kernels(judge)) == 36 + 7 * (
        size.bit_length() - 7
    )


def test_what_is_written_comes_back_bit_for_bit(tmp_path: Path) -> None:
    nets = tiny_networks()
    nets.generator.w_avg.normal_()
    nets.generator.to(memory_format=torch.channels_last)
    write_rosinality(tmp_path / "w.pt", nets.generator, nets.discriminator)
    for which in ("g_ema", "g"):
        generator, discriminator, notes = read_rosinality(tmp_path / "w.pt", which)
        assert same(generator, nets.generator)
        assert discriminator is not None
        assert same(discriminator, nets.discriminator)
        assert generator.config == nets.generator.config
        assert (notes["noise_const"], notes["w_avg"]) == ("stored", "stored")


def test_foreign_to_native_to_foreign_keeps_every_tensor(tmp_path: Path, content: dict[str, Any]) -> None:
    generator, discriminator, notes = read_rosinality(stored(tmp_path, content))
    native = tmp_path / "w.safetensors"
    save_networks(native, generator=generator, discriminator=discriminator, provenance=notes)
    write_rosinality(tmp_path / "back.pt", load_generator(native), load_discriminator(native))
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    for part in ("g_ema", "d"):
        assert set(back[part]) == set(content[part])
        for name, tensor in back[part].items():
            assert torch.equal(tensor, content[part][name]), name
    assert torch.equal(back["latent_avg"], generator.w_avg)


def test_a_recipe_model_in_a_file_gives_the_reference_picture(tmp_path: Path) -> None:
    reference = load_reference("32_cm1", torch.float32)
    write_rosinality(tmp_path / "w.pt", reference.generator)
    generator, discriminator, _ = read_rosinality(tmp_path / "w.pt")
    assert discriminator is None
    with torch.no_grad():
        ws = generator.broadcast(generator.mapping(reference.given("z1", 4, 512)))
        images = generator.synthesis(ws, generator.synthesis.const_noise())
    expected = torch.from_numpy(reference.arrays["image"])
    assert (images - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_training_checkpoints_with_arguments_and_optimisers_are_read(tmp_path: Path, content: dict[str, Any]) -> None:
    generator, discriminator, notes = read_rosinality(stored(tmp_path, content))
    assert discriminator is not None
    assert notes["args"] == {"size": 32, "n_mlp": 2, "lr": 0.002, "wandb": False, "freezeD": 3, "path": "data"}
    assert notes["ada_aug_p"] == 0.25
    raw, _, _ = read_rosinality(tmp_path / "weights.pt", "g")
    assert same(raw, generator) is False


@pytest.mark.parametrize("zipped", [True, False])
def test_files_older_than_the_noise_maps_get_the_same_maps_every_time(
    tmp_path: Path, content: dict[str, Any], zipped: bool
) -> None:
    del content["args"], content["ada_aug_p"]
    for part in ("g", "g_ema"):
        content[part] = {k: v for k, v in content[part].items() if not k.startswith("noises.")}
    path = stored(tmp_path, content, _use_new_zipfile_serialization=zipped)
    first, _, notes = read_rosinality(path)
    torch.manual_seed(99)
    second, _, _ = read_rosinality(path)
    assert same(first, second)
    assert notes["noise_const"].startswith("absent")
    maps = first.synthesis.const_noise()
    assert len({float(m.sum()) for m in maps if m is not None}) == len(maps)
    largest = maps[-1]
    assert largest is not None
    assert largest.std().item() == pytest.approx(1.0, abs=0.1)


def test_without_a_mean_w_it_is_computed_and_with_one_it_is_kept(tmp_path: Path, content: dict[str, Any]) -> None:
    generator, _, notes = read_rosinality(stored(tmp_path, content))
    with torch.no_grad():
        mean = generator.mapping(torch.randn(20_000, 8)).mean(0)
    assert notes["w_avg"].startswith("absent")
    assert torch.allclose(generator.w_avg, mean, atol=0.05)
    content["latent_avg"] = torch.arange(8.0)
    assert torch.equal(read_rosinality(stored(tmp_path, content))[0].w_avg, torch.arange(8.0))


def test_filters_may_be_absent_but_not_different(tmp_path: Path, content: dict[str, Any]) -> None:
    del content["g_ema"]["convs.0.conv.blur.kernel"], content["d"]["convs.1.skip.0.kernel"]
    read_rosinality(stored(tmp_path, content))
    content["g_ema"]["to_rgbs.0.upsample.kernel"] = torch.eye(4)
    with pytest.raises(CorruptInputError, match=r"g_ema: to_rgbs\.0\.upsample\.kernel: another filter"):
        read_rosinality(stored(tmp_path, content))


def test_sizes_widths_and_depths_are_read_off_the_shapes(tmp_path: Path) -> None:
    config = GeneratorConfig(64, z_dim=6, w_dim=10, mapping_layers=3, channel_base=512, channel_max=24)
    write_rosinality(tmp_path / "w.pt", Generator(config))
    assert read_rosinality(tmp_path / "w.pt")[0].config == config


Change = Callable[[dict[str, Tensor]], object]
WRONG: dict[str, tuple[Change, str]] = {
    "unknown": (lambda s: s.update({"dwt.ll": torch.zeros(1)}), r"dwt\.ll: unknown entry"),
    "missing": (lambda s: s.pop("convs.1.conv.weight"), r"convs\.1\.conv\.weight: missing, expected \[1, 16, 16, "
    "3, 3\]"),
    "one noise map missing": (lambda s: s.pop("noises.noise_2"), r"noises\.noise_2: missing"),
    "shape": (lambda s: s.update({"to_rgb1.bias": torch.zeros(3)}), r"to_rgb1\.bias: found shape \[3\], expected "
    "\[1, 3, 1, 1\]"),
    "nan": (lambda s: s["input.input"].fill_(float("nan")), r"input\.input: has values that are not finite"),
    "half": (lambda s: s.update({"conv1.noise.weight": torch.zeros(1).half()}), "found float16, expected float32"),
    "no generator": (lambda s: s.pop("input.input"), r"not a StyleGAN2 generator .* no entry input\.input"),
    "parallel": (
        lambda s: [s.update({f"module.{k}": s.pop(k)}) for k in list(s)],
        "save model.module",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_entries_that_do_not_fit_are_named(tmp_path: Path, content: dict[str, Any], name: str) -> None:
    change, message = WRONG[name]
    change(content["g_ema"])
    with pytest.raises(CorruptInputError, match=message) as caught:
        read_rosinality(stored(tmp_path, content))
    assert "weights.pt: g_ema" in str(caught.value)


def test_a_model_whose_blocks_disagree_says_what_it_looks_like() -> None:
    state = state_of_generator(tiny_generator())
    state["convs.3.conv.weight"] = torch.zeros(1, 5, 16, 3, 3)
    with pytest.raises(CorruptInputError, match="By its shapes this is a 32 px model"):
        generator_from_state(state, None, "here")


def test_unknown_top_level_entries_and_absent_generators_are_named(tmp_path: Path, content: dict[str, Any]) -> None:
    del content["g_ema"]
    with pytest.raises(MissingInputError, match="no generator 'g_ema', it has"):
        read_rosinality(stored(tmp_path, content))
    with pytest.raises(CorruptInputError, match=r"unknown entries \['e'\]"):
        read_rosinality(stored(tmp_path, content | {"e": {}}))
    with pytest.raises(CorruptInputError, match="holds a list, expected a dict"):
        read_rosinality(stored(tmp_path, [1, 2]))
    with pytest.raises(CorruptInputError, match="g_ema is a int, expected a state dict"):
        read_rosinality(stored(tmp_path, {"g_ema": 5}))


class Malice:
    def __init__(self, command: Callable[..., object], *arguments: object) -> None:
        self.command, self.arguments = command, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.command, self.arguments


@pytest.mark.parametrize("where", ["g_ema", "args", "inside"])
@pytest.mark.parametrize("layout", ["zip", "legacy", "plain"])
@pytest.mark.parametrize("call", ["system", "eval", "open"])
def test_a_file_with_a_program_in_it_is_refused_and_nothing_runs(
    tmp_path: Path, content: dict[str, Any], where: str, layout: str, call: str
) -> None:
    canary = tmp_path / "canary"
    malice = {
        "system": Malice(os.system, f"touch {canary}"),
        "eval": Malice(eval, f"open({str(canary)!r}, 'w')"),
        "open": Malice(open, str(canary), "w"),
    }[call]
    content[where if where != "inside" else "g"] = {"a": [malice]} if where == "inside" else malice
    path = tmp_path / "weights.pt"
    if layout == "plain":
        path.write_bytes(pickle.dumps(malice, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(CorruptInputError, match=r"weights\.pt: refused, it asks for .*nothing was executed") as caught:
        read_rosinality(path)
    assert "weights_only" not in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, content: dict[str, Any], share: float, zipped: bool) -> None:
    path = stored(tmp_path, content, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CorruptInputError, match=r"weights\.pt: truncated or not a checkpoint"):
        read_rosinality(path)


def test_a_web_page_random_bytes_and_nothing_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with pytest.raises(MissingInputError, match="no such file"):
        read_rosinality(path)
    path.write_text("\n<!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(CorruptInputError, match="a web page, not a checkpoint"):
        read_rosinality(path)
    path.write_bytes(np.random.default_rng(0).bytes(4000))
    with pytest.raises(CorruptInputError, match="not a checkpoint"):
        read_rosinality(path)


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    generator = tiny_generator()
    with torch.no_grad():
        generator.synthesis.const[0] = float("inf")
    with pytest.raises(DivergenceError, match=r"g input\.input has values that are not finite"):
        write_rosinality(tmp_path / "w.pt", generator)
    assert list(tmp_path.iterdir()) == []
