"""The stage swap: every kind at every level of every snapshot, from files to files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from model.blend.kinds import FeatureExchange, kind_of
from model.blend.weights import mix_weights
from model.checkpoint.native import load_generator, read_header
from model.data.images import read_image
from model.errors import UsageError
from model.files import verify_manifest
from model.finetune.technique import styled_ws
from pipeline.params import ParamsError
from stages.measuring.drawing import SOURCE, Cell, Cells
from stages.swap import swap
from stages.train import train
from tests.blend.pairs import alone, equal, state
from tests.stages.training import SWAP, Setup, new_run, write_params

pytestmark = pytest.mark.slow

SHARES = {"4": 0.0, "8": 0.25, "16": 0.6, "32": 1.0}
KINDS: dict[str, dict[str, Any]] = {
    "weights": {"mix": "weights", "low": "source", "width": None, "mapping": "low"},
    "toonify": {"mix": "weights", "low": "target", "width": None, "mapping": "low"},
    "smooth": {"mix": "weights", "low": "source", "width": 0.5, "mapping": "target"},
    "features": {"mix": "features", "low": "source", "rgb_skip": "source"},
    "cartoon_stylegan": {"mix": "features", "low": "source", "rgb_skip": "target"},
    "back": {"mix": "features", "low": "target", "rgb_skip": "target"},
    "again": {"mix": "weights", "low": "source", "width": None, "mapping": "source"},
    "by-hand": {"mix": "schedule", "shares": SHARES, "mapping": "target"},
}
SAVED = [name for name, kind in KINDS.items() if kind["mix"] != "features"]


@pytest.fixture(scope="module", params=["baseline", "freeze_sg"])
def swept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """Return a training, swept in every way into its folder ``swap``."""
    folder = tmp_path_factory.mktemp(request.param)
    setup = Setup(folder, request.param, swap={**SWAP, "kinds": KINDS, "snapshots": ["best", 0.016]})
    train(**setup.arguments(), run=new_run(folder))  # type: ignore[arg-type]
    swap(setup.params, setup.source, setup.out, folder / "swap", new_run(folder))
    return setup


def levels(name: str) -> tuple[int, ...]:
    return (0,) if KINDS[name]["mix"] == "schedule" else (8, 16)


def test_every_blended_generator_is_an_ordinary_file_that_says_how_it_was_made(swept: Setup) -> None:
    out = swept.folder / "swap"
    source = swept.source / "networks.safetensors"
    manifest = verify_manifest(out)
    for take in manifest["snapshots"]:
        tuned = swept.out / take["file"]
        folder = out / take["folder"]
        files = {f"{name}-{at}.safetensors" for name in SAVED for at in levels(name)}
        assert {path.name for path in folder.glob("*.safetensors")} == files
        for name in SAVED:
            for at in levels(name):
                path = folder / f"{name}-{at}.safetensors"
                kind = kind_of(KINDS[name])
                assert not isinstance(kind, FeatureExchange)
                nets = load_generator(source), load_generator(tuned)
                expected = mix_weights(*nets, kind.blend(at, nets[0].config.resolutions))
                assert equal(state(load_generator(path)), state(expected))
                assert read_header(path).provenance == {
                    "blend": name, **KINDS[name], "at": at, "kimg": take["kimg"],
                    "parents": {"source": read_header(source).sha256, "target": read_header(tuned).sha256},
                }  # fmt: skip


def test_the_manifest_lists_levels_and_kinds_with_their_settings_in_their_order(swept: Setup) -> None:
    manifest = verify_manifest(swept.folder / "swap")
    assert manifest["levels"] == [8, 16]
    assert [(kind["name"], kind["settings"]) for kind in manifest["kinds"]] == list(KINDS.items())
    assert all(asdict(kind_of(kind["settings"])) == kind["settings"] for kind in manifest["kinds"])


def test_the_sheet_has_a_ladder_from_the_source_to_the_tuned_generator_for_every_kind(swept: Setup) -> None:
    height, width, _ = read_image(swept.folder / "swap" / "sheet.png").shape
    rows = 2 * ((2 + 2) * (len(KINDS) - 1) + 3)  # of both snapshots: the ends and two levels, or the one schedule
    assert rows * 128 < height < rows * 160
    assert 3 * 128 < width < 1300


@pytest.mark.parametrize("paired", [True, False])
def test_cells_draw_what_the_saved_files_and_separate_passes_draw_bit_for_bit(swept: Setup, paired: bool) -> None:
    cells = Cells(swept.source, swept.out, swept.folder / "swap", torch.device("cpu"))
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for take in cells.takes:
            target = cells.targets[take.folder]
            ws = {
                "source": cells.source.broadcast(cells.source.mapping(z)),
                "target": styled_ws(cells.techniques, target, cells.source, z),
            }
            drawn = list(cells.draw(take.folder, z, paired))
            asked = [Cell(take.folder, name, at) for name in KINDS for at in levels(name)]
            assert [cell for cell, *_ in drawn] == cells.names(take.folder) == [Cell(take.folder, "none", 0), *asked]
            for cell, plain, own in drawn:
                assert (plain is not None) == paired
                for images, w in ((plain, "source"), (own, None)):
                    if images is None:
                        continue
                    if cell.kind == "none":
                        expected = target.synthesis(ws[w or "target"], cells.noise)
                    else:
                        kind = kind_of(KINDS[cell.kind])
                        expected = alone((cells.source, target), kind, cell.level, ws, w)  # type: ignore[arg-type]
                    assert torch.equal(images, expected), (cell, w)
                if cell.kind in SAVED and not cells.details["techniques"].get("freeze_style"):
                    saved = load_generator(swept.folder / "swap" / f"{cell.file}.safetensors")
                    assert torch.equal(own, saved.synthesis(saved.broadcast(saved.mapping(z)), cells.noise))
            by_cell = {(cell.kind, cell.level): own for cell, _, own in drawn}
            assert all(by_cell["again", at] is by_cell["weights", at] for at in (8, 16))


def test_the_source_is_drawn_in_the_same_form(swept: Setup) -> None:
    cells = Cells(swept.source, swept.out, swept.folder / "swap", torch.device("cpu"))
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ((cell, plain, own),) = cells.draw_source(z, True)
        assert (cell, plain is own) == (SOURCE, True)
        assert torch.equal(own, cells.source.synthesis(cells.source.broadcast(cells.source.mapping(z)), cells.noise))
        assert cells.draw_source(z, False)[0][1] is None


WEIGHTS = KINDS["weights"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": [12]}, r"params\.yaml: swap\.levels: found 12 px, expected some of \[4, 8, 16\], each once"),
        ({"levels": [32]}, r"swap\.levels: found 32 px"),
        ({"levels": [8, 8]}, r"swap\.levels: found 8 px, expected some of \[4, 8, 16\], each once"),
        ({"kinds": {}}, r"params\.yaml: swap: kinds: found none, expected at least one"),
        ({"kinds": {"none": WEIGHTS}}, "swap: kinds: found the name 'none', expected letters, digits, _ and -"),
        ({"kinds": {"source": WEIGHTS}}, "kinds: found the name 'source'.*the source generator themselves"),
        ({"kinds": {"../up": WEIGHTS}}, r"kinds: found the name '\.\./up'"),
        (
            {"kinds": {"a": {"mix": "pixels"}}},
            r"swap\.kinds\.a\.mix: expected one of weights, features, schedule, found",
        ),
        ({"kinds": {"a": {"low": "source"}}}, r"swap\.kinds\.a: missing 'mix'; add one of weights, features, schedule"),
        (
            {"kinds": {"a": {"mix": "weights", "low": "source", "width": None}}},
            r"swap\.kinds\.a: missing 'mapping' \(one of low, high, source, target\)",
        ),
        ({"kinds": {"a": {**WEIGHTS, "low": "left"}}}, r"swap\.kinds\.a\.low: expected one of source, target, found"),
        ({"kinds": {"a": {**WEIGHTS, "width": -1.0}}}, r"swap\.kinds\.a: width: found -1\.0, expected a positive"),
        ({"kinds": {"a": {**WEIGHTS, "rgb_skip": "source"}}}, r"swap\.kinds\.a: unknown key 'rgb_skip'"),
        (
            {"kinds": {"a": {**KINDS["by-hand"], "shares": {"4": 0.0, "8": 1.0}}}},
            r"params\.yaml: swap\.kinds\.a\.shares: found blocks of \[4, 8\] px, expected each of \[4, 8, 16, 32\]",
        ),
        (
            {"kinds": {"a": {**KINDS["by-hand"], "shares": {**SHARES, "8": 2.0}}}},
            r"swap\.kinds\.a: shares: found 2\.0 for the block of 8 px, expected 0 \(source\) to 1 \(target\)",
        ),
        (
            {"kinds": {"a": {**KINDS["by-hand"], "shares": {4: 0.0, 8: 1.0}}}},
            r"swap\.kinds\.a\.shares: expected names as keys, found 4 \(an integer\); put it in quotes",
        ),
    ],
)
def test_what_cannot_be_swept_is_refused_by_file_key_found_and_allowed(
    swept: Setup, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    params = write_params(tmp_path / "params.yaml", swap={**SWAP, **change})
    with pytest.raises((UsageError, ParamsError), match=message):
        swap(params, swept.source, swept.out, tmp_path / "swap", new_run(tmp_path))
    assert not (tmp_path / "swap").exists()


def test_the_same_sweep_writes_the_same_bytes(swept: Setup, tmp_path: Path) -> None:
    swap(swept.params, swept.source, swept.out, tmp_path / "swap", new_run(tmp_path))
    assert verify_manifest(tmp_path / "swap") == verify_manifest(swept.folder / "swap")
