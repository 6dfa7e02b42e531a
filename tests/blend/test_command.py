"""The command ``cartoon blend``: a generator file from two, and refusals with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.blend.kinds import Schedule, WeightExchange
from model.blend.weights import mix_weights
from model.checkpoint.native import load_generator, read_header, save_networks
from model.checkpoint.rosinality import write_rosinality
from model.cli import main
from tests.blend.pairs import CONFIGS, equal, pair, state

BLOCKS = CONFIGS["32 px"].resolutions


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path, generator in zip(paths, pair(), strict=True):
        save_networks(path, generator=generator, provenance={"made": "by a test"})
    return paths


def blend(files: tuple[Path, Path], *arguments: object) -> int:
    return main(["blend", "--source", str(files[0]), "--target", str(files[1]), *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "kind", "at"),
    [
        (("--at", 8), WeightExchange("weights", "source", None, "low"), 8),
        (("--at", 8, "--low", "target"), WeightExchange("weights", "target", None, "low"), 8),
        (
            ("--at", 16, "--width", 0.5, "--mapping", "high"),
            WeightExchange("weights", "source", 0.5, "high"),
            16,
        ),
        (("--at", 0), WeightExchange("weights", "source", None, "low"), 0),
        (
            ("--schedule", "4=0, 8=.25, 32=1, 16=0.6"),
            Schedule("schedule", {"4": 0.0, "8": 0.25, "16": 0.6, "32": 1.0}, "source"),
            0,
        ),
        (
            ("--schedule", "4=1,8=1,16=1,32=0", "--mapping", "target"),
            Schedule("schedule", {"4": 1.0, "8": 1.0, "16": 1.0, "32": 0.0}, "target"),
            0,
        ),
    ],
)
def test_it_writes_the_blend_asked_for_and_says_in_the_file_how_it_was_made(
    files: tuple[Path, Path], tmp_path: Path, arguments: tuple[object, ...], kind: WeightExchange | Schedule, at: int
) -> None:
    out = tmp_path / "folder" / "c.safetensors"
    assert blend(files, *arguments, "--out", out) == 0
    expected = mix_weights(*(load_generator(path) for path in files), kind.blend(at, BLOCKS))
    assert equal(state(load_generator(out)), state(expected))
    provenance = read_header(out).provenance
    assert provenance["parents"] == {
        side: read_header(path).sha256 for side, path in zip(("source", "target"), files, strict=True)
    }
    assert (provenance["mix"], provenance["at"], provenance["mapping"]) == (kind.mix, at, kind.mapping)
    assert main(["generate", "--weights", str(out), "--seeds", "0-1", "--out", str(tmp_path / "faces")]) == 0
    assert len(list((tmp_path / "faces").iterdir())) == 2


def test_the_tuned_generator_may_come_from_another_tool(files: tuple[Path, Path], tmp_path: Path) -> None:
    foreign = tmp_path / "b.pt"
    digest = write_rosinality(foreign, load_generator(files[1]), None)
    assert blend((files[0], foreign), "--at", 32, "--low", "target", "--out", tmp_path / "c.safetensors") == 0
    assert read_header(tmp_path / "c.safetensors").provenance["parents"]["target"] == digest
    made, theirs = state(load_generator(tmp_path / "c.safetensors")), state(load_generator(files[1]))
    assert all(made[name].equal(theirs[name]) for name in made if name.startswith("synthesis"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", 12), "--at: found 12 px, expected one of [0, 4, 8, 16, 32]"),
        (("--at", 8, "--width", 0), "--width: found 0.0, expected a positive number of doublings"),
        (("--at", 8, "--width", "inf"), "--width: found inf"),
        (("--schedule", "4=0,8=1"), "found blocks of [4, 8] px, expected each of [4, 8, 16, 32] once"),
        (("--schedule", "4=0,8"), "found '8', expected PX=SHARE,... as in 4=0,8=0.25,16=0.6,32=1"),
        (("--schedule", "4=0,4=1"), "the block of 4 px is named twice"),
        (("--schedule", "4=2"), "found 2.0 for the block of 4 px, expected 0 (source) to 1 (target)"),
        (("--schedule", "4=0", "--low", "target"), "--low: goes with --at"),
        (("--schedule", "4=0", "--width", "1"), "--width: goes with --at"),
        (("--schedule", "4=0", "--mapping", "low"), "--mapping low: a schedule has no coarse and fine side"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(
    files: tuple[Path, Path],
    tmp_path: Path,
    arguments: tuple[object, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert blend(files, *arguments, "--out", tmp_path / "c.safetensors") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "c.safetensors").exists()


def test_it_replaces_no_file_unasked_and_mixes_no_two_architectures(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = files[1], files[1].read_bytes()
    assert blend(files, "--at", 8, "--out", out) == 2
    assert "exists; name another file, or add --force to replace it" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert blend(files, "--at", 8, "--out", tmp_path / "c.pt") == 2
    assert "expected a name ending in .safetensors" in capsys.readouterr().err
    assert blend((files[0], tmp_path / "absent.safetensors"), "--at", 8, "--out", tmp_path / "c.safetensors") == 3
    other = tmp_path / "other.safetensors"
    save_networks(other, generator=pair(CONFIGS["64 px, one width"])[0], provenance={})
    assert blend((files[0], other), "--at", 8, "--out", tmp_path / "c.safetensors") == 2
    assert "differ in architecture, first at" in capsys.readouterr().err
    assert blend(files, "--at", 8, "--out", out, "--force") == 0
    assert out.read_bytes() != before
