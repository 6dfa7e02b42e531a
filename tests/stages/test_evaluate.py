"""The stage evaluate, from weights and images to metrics.json."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint.native import save_networks
from model.data.images import read_image
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError
from model.files import publish_folder, verify_manifest, write_manifest
from model.metrics.features import AttributeReader, StyleFeatures
from model.metrics.fit import attribute_net, style_net, write_asset
from stages import evaluate as module
from stages.evaluate import evaluate
from stages.report.cells import Grid, read_comparison
from stages.swap import swap
from tests.finetune.test_techniques import METHODS
from tests.metrics.standin import probe_set
from tests.stages.training import SWAP, new_run, write_images, write_params, write_source
from tests.tiny import tiny_generator

SETTINGS = {"images": 70, "pairs": 20, "tiles": 5, "seed": 11, "rgb_skip": "source", "device": "cpu"}


class Bench:
    """The inputs of the stage ``evaluate``, made without training."""

    def __init__(self, folder: Path, method: str, **settings: object) -> None:
        self.folder, self.method = folder, method
        self.params = write_params(folder / "params.yaml", evaluate=SETTINGS | settings)
        self.source = write_source(folder / "source")
        self.lmdb = write_images(folder / "lmdb" / "flat", n=16)
        self.trained = self._trained()
        self.swaps, self.out = folder / "swap", folder / "evaluate" / f"{method}-flat-s0"
        swap(self.params, self.source, self.trained, self.swaps, new_run(folder))

    def _trained(self) -> Path:
        details = {
            "method": self.method, "dataset": "flat", "seed": "s0", "techniques": METHODS[self.method],
            "snapshots": [{"kimg": 1.0, "file": "snapshots/00001000.safetensors"}], "kept": {"kimg": 1.0, "why": ""},
            "best": 1.0, "last": 1.0,
        }  # fmt: skip
        with publish_folder(self.folder / "trained", details) as folder:
            target = tiny_generator(1)
            if self.method == "freeze_g":  # its mapping network never trains
                target.mapping.load_state_dict(tiny_generator(0).mapping.state_dict())
            for name in ("generator", "snapshots/00001000"):
                save_networks(folder / f"{name}.safetensors", generator=target, provenance={})
        return self.folder / "trained"

    def run(self) -> dict[str, Any]:
        evaluate(self.params, self.lmdb, self.source, self.trained, self.swaps, self.out, new_run(self.folder))
        metrics: dict[str, Any] = json.loads((self.out / "metrics.json").read_text())
        return metrics


@pytest.fixture(autouse=True)
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Untrained measuring networks: these tests are about the stage, not about faces."""
    torch.manual_seed(0)
    data, folder = probe_set(20), tmp_path / "assets"
    write_asset(folder / "style_net.safetensors", style_net(data), data, {})
    write_asset(folder / "attribute_net.safetensors", attribute_net(data), data, {})
    write_manifest(folder)
    monkeypatch.setattr(module, "AttributeReader", partial(AttributeReader, folder))
    monkeypatch.setattr(module, "StyleFeatures", partial(StyleFeatures, folder))
    return folder


def cell(metrics: dict[str, Any], kind: str, level: int) -> dict[str, Any]:
    (found,) = [row for row in metrics["cells"] if (row["swap"], row["level"]) == (kind, level)]
    return {key: value for key, value in found.items() if key not in ("swap", "level")}


def test_every_cell_is_measured_and_the_report_can_read_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "freeze_sg")
    metrics = bench.run()
    expected = [("none", 0), ("weights", 8), ("weights", 16), ("features", 8), ("features", 16)]
    assert [(row["swap"], row["level"]) for row in metrics["cells"]] == expected
    name = metrics["extractor"]["style"]["name"]
    for row in metrics["cells"]:
        assert {f"fid[{name}]", f"kid_x1e3[{name}]", "precision", "recall", "landmark_nme", "edge_ssim"} <= set(row)
        assert {"lowres_mse_8", "lowres_mse_16", "lowres_mse_32", "attribute_mse", "attribute_mse_own"} <= set(row)
        assert "fid" not in row
    assert (metrics["n_gen"], metrics["n_pairs"], metrics["n_real"], metrics["n_heldout"]) == (70, 20, 16, 16)
    assert metrics["anchors"]["source"]["landmark_nme"] == 0.0
    assert metrics["anchors"]["real_split"][f"fid[{name}]"] > 0.0
    comparison = read_comparison(bench.out.parent, Grid("test", ("flat",), ("freeze_sg",), ("s0",)))
    assert comparison.fid == f"fid[{name}]"
    verify_manifest(bench.out)
    with (bench.out / "cells.csv").open() as file:
        assert [(row["swap"], int(row["level"])) for row in csv.DictReader(file)] == expected


def two_snapshots(bench: Bench) -> Bench:
    """Give the training a second snapshot, and swap three names that mean the two."""
    target = tiny_generator(2)
    manifest = verify_manifest(bench.trained)
    details = {name: manifest[name] for name in ("method", "dataset", "seed", "techniques", "kept", "best")}
    files = [{"kimg": kimg, "file": f"snapshots/0000{kimg}000.safetensors"} for kimg in (1, 2)]
    save_networks(bench.trained / files[1]["file"], generator=target, provenance={})
    write_manifest(bench.trained, details | {"last": 2, "snapshots": files})
    bench.params = write_params(
        bench.params, evaluate=SETTINGS, swap={**SWAP, "levels": [8], "snapshots": ["best", "last", 2]}
    )
    swap(bench.params, bench.source, bench.trained, bench.swaps, new_run(bench.folder))
    return bench


def test_every_snapshot_is_measured_at_every_level_with_numbers_of_its_own(tmp_path: Path) -> None:
    bench = two_snapshots(Bench(tmp_path, "baseline"))
    metrics = bench.run()
    expected = [("none", 0), ("weights", 8), ("features", 8)]
    names = [("best", 1), ("last", 2), ("2_kimg", 2)]
    found = [(row["snapshot"], row["kimg"], row["swap"], row["level"]) for row in metrics["cells"]]
    assert found == [(*name, *at) for name in names for at in expected]
    assert metrics["snapshots"] == {"best": 1, "last": 2, "2_kimg": 2}
    rows = {
        name: [{k: v for k, v in row.items() if k != "snapshot"} for row in metrics["cells"] if row["snapshot"] == name]
        for name, _ in names
    }
    assert rows["last"] == rows["2_kimg"]
    assert all(a["landmark_nme"] != b["landmark_nme"] for a, b in zip(rows["best"], rows["last"], strict=True))
    comparison = read_comparison(bench.out.parent, Grid("test", ("flat",), ("baseline",), ("s0",)))
    assert comparison.snapshots == ["best", "last", "2_kimg"]
    strips = {
        path.relative_to(bench.out / "tiles").as_posix(): path.read_bytes()
        for path in (bench.out / "tiles").rglob("*.png")
    }
    assert set(strips) == {"source.png", *(f"{name}/{kind}-{at}.png" for name, _ in names for kind, at in expected)}
    assert strips["last/none-0.png"] == strips["2_kimg/none-0.png"] != strips["best/none-0.png"]


def test_the_first_snapshot_of_a_sweep_measures_as_it_does_alone(tmp_path: Path) -> None:
    for name in ("alone", "swept"):
        (tmp_path / name).mkdir()
    alone = Bench(tmp_path / "alone", "baseline").run()
    swept = two_snapshots(Bench(tmp_path / "swept", "baseline")).run()
    for kind, level in (("none", 0), ("weights", 8), ("features", 8)):
        (row,) = [r for r in swept["cells"] if (r["snapshot"], r["swap"], r["level"]) == ("best", kind, level)]
        assert {**row, "snapshot": ""} == {"snapshot": "", "kimg": 1.0, **cell(alone, kind, level)} | {
            "swap": kind, "level": level
        }  # fmt: skip
    assert swept["anchors"] == alone["anchors"]


def test_tiles_show_the_same_faces_in_every_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "baseline")
    metrics = bench.run()
    strips = {path.stem: read_image(path) for path in (bench.out / "tiles").iterdir()}
    assert set(strips) == {"source", "none-0", "weights-8", "weights-16", "features-8", "features-16"}
    assert {strip.shape for strip in strips.values()} == {(32, 5 * 32, 3)}
    assert metrics["tiles"] == {"count": 5, "psi": 1.0}
    # With the source's w and the source's RGB the two ways of swapping draw the same picture.
    assert np.array_equal(strips["weights-8"], strips["features-8"])
    assert np.abs(strips["none-0"].astype(int) - strips["source"]).max() > 1


def test_running_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "freeze_sg")
    bench.run()
    first = verify_manifest(bench.out)["files"]
    bench.run()
    assert verify_manifest(bench.out)["files"] == first


def test_own_w_differ_from_the_sources_only_where_the_mapping_trained(tmp_path: Path) -> None:
    for method, moved in (("freeze_g", False), ("baseline", True)):
        (tmp_path / method).mkdir()
        plain = cell(Bench(tmp_path / method, method).run(), "none", 0)
        assert (plain["landmark_nme_own"] != plain["landmark_nme"]) == moved


def test_swapped_weights_and_injected_features_draw_the_same_from_the_same_w(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "baseline")
    cells = module.Cells(bench.source, bench.trained, bench.swaps, torch.device("cpu"))
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    ws = cells.source.broadcast(cells.source.mapping(z))
    with torch.inference_mode():
        for at, image in cells._inject(cells.targets[""], ws, ws, "source").items():
            assert torch.allclose(image, cells.blends[""][at].synthesis(ws, cells.noise), atol=1e-5)


def test_target_rgb_makes_feature_swaps_another_picture(tmp_path: Path) -> None:
    metrics = Bench(tmp_path, "freeze_g", rgb_skip="target").run()
    weights, features = cell(metrics, "weights", 8), cell(metrics, "features", 8)
    assert weights["lowres_mse_8"] != pytest.approx(features["lowres_mse_8"], rel=1e-3)


def test_latents_do_not_depend_on_the_method_or_on_how_many_are_drawn(tmp_path: Path) -> None:
    hashes = set()
    for index, images in enumerate((70, 90)):
        (tmp_path / str(index)).mkdir()
        bench = Bench(tmp_path / str(index), ("baseline", "freeze_g")[index], images=images)
        bench.run()
        hashes.add((bench.out / "tiles" / "source.png").read_bytes())
    assert len(hashes) == 1


@pytest.mark.parametrize("asset", ["style_net", "attribute_net"])
def test_a_missing_or_edited_weight_file_is_found_before_anything_is_drawn(
    tmp_path: Path, assets: Path, asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, "baseline")
    monkeypatch.setattr(module, "Cells", None)  # nothing of the generators is touched
    path = assets / f"{asset}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptInputError, match=f"{asset}.*content differs"):
        bench.run()
    path.unlink()
    with pytest.raises(MissingInputError, match=f"{asset}.*make assets"):
        bench.run()
    assert not bench.out.exists()


def test_too_few_reals_or_impossible_settings_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "baseline")
    write_images(bench.lmdb, n=8)
    with pytest.raises(BudgetError, match=r"flat: 8 training and 8 held-out images.*at least 12"):
        bench.run()
    write_params(bench.params, evaluate=SETTINGS | {"pairs": 71})
    with pytest.raises(UsageError, match="pairs 71"):
        bench.run()


def test_an_edited_trained_generator_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "baseline")
    weights = bench.trained / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(CorruptInputError, match=r"generator\.safetensors"):
        bench.run()
