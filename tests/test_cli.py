"""The command ``cartoon``: conversions, pictures that depend on their seed alone, and failures with a remedy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.checkpoint.native import load_discriminator, load_generator, manifest_path, save_networks
from model.checkpoint.rosinality import read_rosinality, write_rosinality
from model.cli import main
from model.latents.sampling import seeded_noise, seeded_z
from tests.checkpoint.nvidia_files import write_torch
from tests.checkpoint.test_native import same
from tests.tiny import tiny_networks

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    nets = tiny_networks()
    nets.generator.w_avg.normal_()
    path = tmp_path / "w.safetensors"
    save_networks(path, generator=nets.generator, discriminator=nets.discriminator, provenance={"made": "by a test"})
    return path


def cartoon(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def raw(tmp_path: Path, *arguments: object) -> np.ndarray:
    out = tmp_path / "raw.npy"
    assert cartoon("generate", *arguments, "--raw", out, "--device", "cpu") == 0
    images = np.load(out)
    assert images.dtype == np.float32
    return images


def expected(weights: Path, ws: torch.Tensor, kind: str = "const", seeds: tuple[int, ...] = ()) -> np.ndarray:
    generator = load_generator(weights)
    noise = generator.synthesis.const_noise() if kind == "const" else generator.synthesis.no_noise()
    if kind == "random":
        noise = list(seeded_noise(generator, seeds))
    with torch.no_grad():
        return generator.synthesis(ws, noise).numpy()


@pytest.mark.slow
def test_as_a_process_it_writes_pictures_quietly_and_fails_in_one_line(weights: Path, tmp_path: Path) -> None:
    def process(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "model.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    done = process("generate", "--weights", weights, "--seeds", "0-2", "--out", tmp_path / "faces")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(p.name for p in (tmp_path / "faces").iterdir()) == ["seed0000.png", "seed0001.png", "seed0002.png"]
    failed = process("info", tmp_path / "absent.safetensors")
    assert failed.returncode == 3
    assert failed.stderr.startswith("cartoon info: ")
    assert "no such file" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_conversion_there_and_back_keeps_both_networks_and_says_what_it_wrote(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign, back = tmp_path / "w.pt", tmp_path / "back.safetensors"
    assert cartoon("convert", weights, foreign) == 0
    assert cartoon("convert", foreign, back) == 0
    assert same(load_generator(back), load_generator(weights))
    _, discriminator, _ = read_rosinality(foreign)
    assert discriminator is not None
    assert manifest_path(back).is_file()
    assert "32 px generator and discriminator, sha256 " in capsys.readouterr().out


def test_conversion_never_replaces_a_file_unasked(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "w.pt"
    target.write_text("precious")
    assert cartoon("convert", weights, target) == 2
    assert target.read_text() == "precious"
    assert "exists; name another file, or add --force" in capsys.readouterr().err
    assert cartoon("convert", weights, target, "--force") == 0


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("w.safetensors", "b.safetensors", "expected another format"),
        ("w.safetensors", "b.ckpt", "to .safetensors or .pt"),
        ("w.safetensors", "b.pkl", "to .safetensors or .pt"),
        ("w.ckpt", "b.pt", "expected .safetensors, .pt (rosinality) or .pkl (NVIDIA)"),
    ],
)
def test_conversion_wants_formats_it_reads_and_writes(
    tmp_path: Path, source: str, target: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cartoon("convert", tmp_path / source, tmp_path / target) == 2
    assert message in capsys.readouterr().err


def test_every_command_takes_nvidias_pickles(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = write_torch(tmp_path / "network.pkl", load_generator(weights), load_discriminator(weights))
    assert cartoon("convert", theirs, tmp_path / "ours.safetensors") == 0
    assert same(load_generator(tmp_path / "ours.safetensors"), load_generator(weights))
    assert cartoon("convert", theirs, tmp_path / "theirs.pt") == 0
    np.testing.assert_array_equal(raw(tmp_path, "--weights", theirs), raw(tmp_path, "--weights", weights))
    capsys.readouterr()
    assert cartoon("info", theirs, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["provenance"]["format"] == "nvidia-pytorch"
    assert facts["generator"]["resolution"] == 32


def test_seeds_are_truncated_by_default_and_psi_one_is_the_untouched_picture(weights: Path, tmp_path: Path) -> None:
    generator = load_generator(weights)
    ws = generator.broadcast(generator.mapping(seeded_z([3, 7, 20, 21], 8))).detach()
    plain = raw(tmp_path, "--weights", weights, "--seeds", "3,7,20-21", "--psi", "1")
    np.testing.assert_array_equal(plain, expected(weights, ws))
    mean = generator.w_avg
    usual = raw(tmp_path, "--weights", weights, "--seeds", "3,7,20-21")
    np.testing.assert_allclose(usual, expected(weights, mean + 0.7 * (ws - mean)), atol=1e-5)
    zero = raw(tmp_path, "--weights", weights, "--seeds", "3,7", "--psi", "0")
    np.testing.assert_allclose(zero[0], zero[1], atol=1e-6)


def test_sixteen_seeds_are_drawn_when_nothing_is_said(weights: Path, tmp_path: Path) -> None:
    assert raw(tmp_path, "--weights", weights).shape == (16, 3, 32, 32)


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_a_picture_depends_on_its_own_seed_whatever_is_drawn_with_it(weights: Path, tmp_path: Path, noise: str) -> None:
    many = raw(tmp_path, "--weights", weights, "--seeds", "0-10", "--noise", noise)
    for seed in (0, 9):
        alone = raw(tmp_path, "--weights", weights, "--seeds", seed, "--noise", noise)
        np.testing.assert_allclose(alone[0], many[seed], atol=1e-5)


def test_the_kinds_of_noise_differ_and_are_the_ones_named(weights: Path, tmp_path: Path) -> None:
    generator = load_generator(weights)
    ws = generator.broadcast(generator.mapping(seeded_z([5], 8))).detach()
    pictures = {}
    for kind in ("const", "random", "none"):
        pictures[kind] = raw(tmp_path, "--weights", weights, "--seeds", "5", "--psi", "1", "--noise", kind)
        np.testing.assert_array_equal(pictures[kind], expected(weights, ws, kind, (5,)))
    assert not np.array_equal(pictures["const"], pictures["random"])
    assert not np.array_equal(pictures["const"], pictures["none"])


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_latents_from_a_file_are_drawn_as_they_are(weights: Path, tmp_path: Path, space: str) -> None:
    generator = load_generator(weights)
    shape = (10, 8, 8) if space == "w+" else (10, 8)
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    np.save(tmp_path / "latents.npy", values)
    found = raw(tmp_path, "--weights", weights, "--latents", tmp_path / "latents.npy", "--space", space)
    ws = torch.from_numpy(values)
    if space != "w+":
        ws = generator.broadcast(generator.mapping(ws) if space == "z" else ws).detach()
    np.testing.assert_allclose(found, expected(weights, ws), atol=1e-5)


def test_foreign_weights_draw_the_same_pictures_as_native_ones(weights: Path, tmp_path: Path) -> None:
    write_rosinality(tmp_path / "w.pt", load_generator(weights))
    native = raw(tmp_path, "--weights", weights, "--seeds", "0-3")
    np.testing.assert_array_equal(raw(tmp_path, "--weights", tmp_path / "w.pt", "--seeds", "0-3"), native)


def test_a_folder_a_sheet_and_raw_numbers_show_the_same_pictures(weights: Path, tmp_path: Path) -> None:
    numbers = raw(tmp_path, "--weights", weights, "--seeds", "4-5", "--out", tmp_path / "faces")
    for i, name in enumerate(("seed0004.png", "seed0005.png")):
        picture = np.asarray(Image.open(tmp_path / "faces" / name))
        wanted = np.clip(numbers[i].transpose(1, 2, 0) * 127.5 + 128, 0, 255).astype(np.uint8)
        np.testing.assert_array_equal(picture, wanted)
    assert cartoon("generate", "--weights", weights, "--seeds", "0-9", "--out", tmp_path / "sheet.png") == 0
    assert Image.open(tmp_path / "sheet.png").width > 8 * 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to write"),
        (("--raw", "o.txt"), "expected a name ending in .npy"),
        (("--out", "d", "--space", "w"), "needs --latents"),
        (("--out", "d", "--seeds", "1", "--latents", "l.npy"), "found both, expected one"),
        (("--out", "d", "--seeds", "1-x"), "seeds: found '1-x'"),
    ],
)
def test_wrong_arguments_are_named(
    weights: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cartoon("generate", "--weights", weights, *arguments) == 2
    assert message in capsys.readouterr().err


def test_damaged_weights_are_refused_with_their_exit_code(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights.write_bytes(weights.read_bytes()[:-1])
    assert cartoon("generate", "--weights", weights, "--out", tmp_path / "faces") == 4
    assert "truncated" in capsys.readouterr().err
    assert not (tmp_path / "faces").exists()


def test_nothing_is_left_behind_when_the_folder_cannot_be_written(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert cartoon("generate", "--weights", weights, "--raw", tmp_path / "file" / "raw.npy") == 5
    assert "check the path" in capsys.readouterr().err


def test_info_names_architecture_parameters_provenance_and_digest(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cartoon("info", weights, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    generator = load_generator(weights)
    assert facts["generator"]["parameters"] == sum(p.numel() for p in generator.parameters())
    assert facts["generator"]["channels"] == {"4": 16, "8": 16, "16": 16, "32": 8}
    assert facts["discriminator"]["resolution"] == 32
    assert facts["provenance"] == {"made": "by a test"}
    assert facts["sha256"] == json.loads(manifest_path(weights).read_text())["sha256"]
    assert cartoon("info", weights) == 0
    shown = capsys.readouterr().out
    assert facts["sha256"] in shown
    assert f"32 px, {facts['generator']['parameters']:,} parameters" in shown
    assert cartoon("convert", weights, tmp_path / "w.pt") == 0
    assert cartoon("info", tmp_path / "w.pt", "--json") == 0
    foreign = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert foreign["generator"]["parameters"] == facts["generator"]["parameters"]
