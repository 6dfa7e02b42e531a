"""Snapshots of a training: which one is kept, when a training ends early, and what survives an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from model.checkpoint.native import load_generator, read_header
from model.data.images import UInt8
from model.data.lmdb_write import Packing, write_lmdb
from model.errors import BudgetError, CorruptInputError, MissingInputError, UsageError
from model.files import publish_folder, sha256_file, verify_manifest
from model.metrics.features import Floats, StyleFeatures
from model.metrics.memorisation import nn_ratio
from model.training.trainer import Trainer
from pipeline.params import ParamsError
from stages import snapshots as module
from stages import train as stage
from stages.snapshots import Judge, Snapshot, SnapshotParams, Snapshots, settled
from stages.swap import swap
from stages.train import train
from tests.stages.training import SNAPSHOTS, SWAP, TRAIN, Setup, new_run, power_cut, write_params
from tests.tiny import CONFIG, tiny_trainer

pytestmark = pytest.mark.slow

EVERY_TICK = {**SNAPSHOTS, "kimg": 0.008}  # four snapshots: 8, 16, 24 and 32 images


class Verdicts(Judge):
    """Scores as a test wants them, one after the other."""

    def __init__(self, scores: Sequence[tuple[float, float]]) -> None:
        self.scores = list(scores)
        self.extractor = StyleFeatures()

    def __call__(self, kimg: float, images: UInt8) -> Snapshot:
        value, ratio = self.scores[round(kimg / 0.008) - 1]
        return Snapshot(kimg, value, 0.01, ratio)


def run_train(setup: Setup) -> dict[str, Any]:
    train(**setup.arguments(), run=new_run(setup.folder))  # type: ignore[arg-type]
    return verify_manifest(setup.out)


def judged(setup: Setup, scores: Sequence[tuple[float, float]], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Train with a judge that gives (KID, nn_ratio) as listed."""
    monkeypatch.setattr(module, "Judge", lambda *_: Verdicts(scores))
    return run_train(setup)


def setup_of(folder: Path, **changes: object) -> Setup:
    return Setup(folder, snapshots={**EVERY_TICK, **changes})


def marks(setup: Setup) -> dict[int, str]:
    table = pd.read_csv(setup.out / "snapshots.csv", keep_default_na=False)
    return {round(1000 * kimg): text for kimg, text in zip(table["kimg"], table["marks"], strict=True)}


def test_every_snapshot_is_published_with_its_numbers_and_the_extractors_name(tmp_path: Path) -> None:
    setup = setup_of(tmp_path)
    details = run_train(setup)
    table = pd.read_csv(setup.out / "snapshots.csv")
    assert list(table.columns) == ["kimg", "kid", "kid_std", "nn_ratio", "extractor", "marks"]
    assert table["kimg"].tolist() == pytest.approx([0.008, 0.016, 0.024, 0.032])
    assert set(table["extractor"]) == {StyleFeatures().name}
    assert table["kid"].nunique() == 4
    assert np.isfinite(table[["kid", "kid_std", "nn_ratio"]].to_numpy()).all()
    for entry in details["snapshots"]:
        header = read_header(setup.out / entry["file"])
        assert (header.provenance["kimg"], header.provenance["method"]) == (entry["kimg"], "structure_loss")
    weights = {load_generator(setup.out / one["file"]).synthesis.const.sum().item() for one in details["snapshots"]}
    assert len(weights) == 4


def test_a_worse_later_snapshot_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(tmp_path)
    details = judged(setup, [(0.9, 1.0), (0.2, 1.0), (0.5, 1.0), (0.3, 1.0)], monkeypatch)
    assert (details["kept"]["kimg"], details["best"], details["last"]) == pytest.approx((0.016, 0.016, 0.032))
    assert "lowest KID on held-out images of 4 snapshots" in details["kept"]["why"]
    assert marks(setup) == {8: "", 16: "kept best", 24: "", 32: "last"}
    kept, taken = setup.out / "generator.safetensors", setup.out / "snapshots" / "00000016.safetensors"
    assert sha256_file(kept) == sha256_file(taken) != sha256_file(setup.out / "snapshots" / "00000032.safetensors")


def test_the_last_one_is_kept_where_the_settings_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(tmp_path, keep="last")
    details = judged(setup, [(0.9, 1.0), (0.2, 1.0), (0.5, 1.0), (0.3, 1.0)], monkeypatch)
    assert (details["kept"]["kimg"], details["best"]) == pytest.approx((0.032, 0.016))
    assert sha256_file(setup.out / "generator.safetensors") == sha256_file(
        setup.out / "snapshots" / "00000032.safetensors"
    )


def test_a_training_that_memorises_ends_and_says_why_and_keeps_a_snapshot_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_of(tmp_path, stop_below=0.7, patience=2)
    details = judged(setup, [(0.9, 0.9), (0.5, 0.6), (0.1, 0.5), (0.0, 0.4)], monkeypatch)
    reason = "memorisation at 0.024 kimg: nn_ratio 0.60, 0.50 in 2 in a row, below 0.7"
    assert details["stopped"] == reason
    assert (details["kept"]["kimg"], details["kimg"]) == pytest.approx((0.008, 0.024))
    assert "2 left out because they memorise" in details["kept"]["why"]
    assert marks(setup) == {8: "kept best", 16: "memorises", 24: "last memorises stopped"}
    assert pd.read_csv(setup.out / "stats.csv")["kimg"].max() == pytest.approx(0.024)
    assert sorted(path.stem for path in (setup.out / "samples").iterdir())[-1] == "00000024"
    journal = [json.loads(line) for line in next((tmp_path / "journal").rglob("journal.jsonl")).open()]
    tags = {key: value for entry in journal if entry["kind"] == "tags" for key, value in entry["values"].items()}
    assert tags["stopped"] == reason
    assert tags["kept_kimg"] == "0.008"


def test_the_first_of_two_processes_judges_and_both_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_on_two = {**TRAIN, "batch": 8, "gpus": 2}
    setup = Setup(tmp_path, snapshots={**EVERY_TICK, "stop_below": 0.7, "patience": 1}, train=train_on_two)
    details = judged(setup, [(0.9, 0.9), (0.5, 0.6), (0.1, 0.5), (0.0, 0.4)], monkeypatch)
    assert (details["processes"], details["kimg"]) == (2, pytest.approx(0.016))
    assert details["stopped"].startswith("memorisation at 0.016 kimg")


def test_one_memorising_snapshot_is_forgiven_within_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_of(tmp_path, stop_below=0.7, patience=2)
    details = judged(setup, [(0.9, 0.6), (0.8, 0.9), (0.1, 0.5), (0.7, 0.8)], monkeypatch)
    assert details["stopped"] == ""
    assert details["kept"]["kimg"] == pytest.approx(0.032)


def test_if_all_memorise_the_one_that_does_least_is_kept_and_the_manifest_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_of(tmp_path, stop_below=0.7, patience=9)
    details = judged(setup, [(0.9, 0.3), (0.8, 0.6), (0.1, 0.5), (0.7, 0.2)], monkeypatch)
    assert details["kept"]["kimg"] == pytest.approx(0.016)
    assert details["kept"]["why"].startswith("every snapshot memorises")


def random_images(seed: int, n: int) -> UInt8:
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def pixels(images: UInt8) -> Floats:
    """Features that a copy cannot hide from."""
    return images.reshape(len(images), -1)[:, ::97].astype(np.float32) / 255


def test_a_generator_that_copies_its_training_images_has_a_low_ratio_and_new_images_have_one_near_1(
    tmp_path: Path,
) -> None:
    train_images = random_images(0, 40)
    judge = Judge(tmp_path, train_images, random_images(1, 40), partial(pixels))  # type: ignore[arg-type]
    nearly = np.clip(train_images.astype(int) + 2, 0, 255).astype(np.uint8)
    assert judge(1.0, nearly).nn_ratio < 0.1
    assert judge(1.0, random_images(2, 40)).nn_ratio == pytest.approx(1.0, abs=0.1)


def test_a_copying_generator_ends_its_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(tmp_path, stop_below=0.5, patience=2, images=8)
    stored = random_images(0, 8)
    with publish_folder(setup.lmdb) as out:
        for split, images in (("train", stored), ("heldout", random_images(1, 8))):
            write_lmdb(out / split, list(images), [str(i) for i in range(8)], Packing([32], "png", workers=1))
    copies = np.clip(stored.astype(int) + 1, 0, 255).astype(np.uint8)
    monkeypatch.setattr(module, "_draw", lambda *_: copies)
    details = run_train(setup)
    assert details["stopped"].startswith("memorisation at 0.016 kimg")
    assert details["last"] == pytest.approx(0.016)


def test_a_resumed_training_ends_with_the_same_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after a snapshot that no state knows: it is taken again; those of the state are not."""
    setup = Setup(tmp_path, snapshots=EVERY_TICK, train={**TRAIN, "state_kimg": 0.016})
    run_train(setup)
    whole = verify_manifest(setup.out)["files"]
    taken: list[float] = []
    with power_cut(7):
        run_train(setup)
    files = {path.name for path in (setup.scratch / "snapshots").glob("*.safetensors")}
    assert files == {"00000008.safetensors", "00000016.safetensors", "00000024.safetensors"}
    take = Snapshots.take
    monkeypatch.setattr(Snapshots, "take", lambda self, *rest: (taken.append(rest[0].kimg), take(self, *rest))[1])
    run_train(setup)
    assert taken == pytest.approx([0.024, 0.032])
    assert verify_manifest(setup.out)["files"] == whole


def test_a_training_that_was_stopped_and_then_killed_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_of(tmp_path, stop_below=0.7)
    scores = [(0.9, 0.9), (0.5, 0.6), (0.1, 0.5), (0.0, 0.4)]
    with monkeypatch.context() as patch:
        patch.setattr(stage, "publish", lambda *_: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError, match="power cut"):
            judged(setup, scores, patch)
    monkeypatch.setattr(Trainer, "step", lambda _: pytest.fail("trained on"))
    details = judged(setup, scores, monkeypatch)
    assert details["last"] == pytest.approx(0.016)
    assert details["stopped"]


def test_a_lost_or_edited_snapshot_of_the_state_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "publish", lambda *_: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError, match="power cut"):
            run_train(setup)
    path = setup.scratch / "snapshots" / "00000016.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptInputError, match=r"00000016\.safetensors"):
        run_train(setup)
    path.unlink()
    with pytest.raises(MissingInputError, match=r"00000016\.safetensors"):
        run_train(setup)


@pytest.mark.parametrize(
    ("every", "tick", "total", "expected"),
    [
        (4.0, 0.5, 12.0, [4.0, 8.0, 12.0]),
        (4.0, 0.496, 12.0, [3.968, 7.936, 12.0]),  # ticks end between batches: the nearest one, and no twin at the end
        (5.0, 0.5, 12.0, [5.0, 12.0]),
        (3.0, 2.0, 12.0, [2.0, 6.0, 8.0, 12.0]),  # 2 is as near to 3 as 4 is: the earlier
        (100.0, 0.5, 12.0, [12.0]),
    ],
)
def test_snapshots_are_due_near_each_multiple_and_at_the_end(
    every: float, tick: float, total: float, expected: list[float]
) -> None:
    class Clock:
        kimg = 0.0
        config = type("Config", (), {"tick_kimg": tick})

    snapshots = Snapshots(SnapshotParams(every, 4, "best", 0.0, 1), Verdicts([]), total, Path(), {})
    clock: Any = Clock()
    while clock.kimg < total:
        clock.kimg = min(total, round(clock.kimg + tick, 6))
        if snapshots.due(clock):
            snapshots.rows.append(Snapshot(clock.kimg, 0.1, 0.0, 1.0))
    assert [row.kimg for row in snapshots.rows] == pytest.approx(expected)


def test_taking_a_snapshot_leaves_the_training_as_it_was() -> None:
    trainer = tiny_trainer([])
    before = {name: value.clone() for name, value in trainer.nets.ema.state_dict().items()}
    copied = settled(trainer)
    assert not torch.equal(copied.w_avg, before["w_avg"])
    assert all(torch.equal(value, before[name]) for name, value in trainer.nets.ema.state_dict().items())
    assert trainer.kimg == 0.0 < CONFIG.kimg


def test_a_missing_extractor_is_named_with_the_remedy_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(tmp_path)
    monkeypatch.setattr(module, "StyleFeatures", partial(StyleFeatures, tmp_path / "nowhere"))
    monkeypatch.setattr(stage, "load_generator", lambda _: pytest.fail("weights were read"))
    with pytest.raises(MissingInputError, match=r"nowhere.*make assets"):
        run_train(setup)
    assert not setup.scratch.exists()


def test_too_few_or_leaked_held_out_images_are_refused(tmp_path: Path) -> None:
    images = random_images(0, 6)
    with pytest.raises(BudgetError, match=r"3 held-out images.*lmdb\.min_heldout"):
        Judge(tmp_path, images, images[:3], partial(pixels))  # type: ignore[arg-type]
    with pytest.raises(CorruptInputError, match="copies of training images"):
        Judge(tmp_path, images, images[:4], partial(pixels))  # type: ignore[arg-type]
    features = pixels(images).astype(np.float64)
    with pytest.raises(ValueError, match="copies of training images"):
        nn_ratio(features, features, features[:4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kimg": 0.0}, r"snapshots\.kimg: found 0\.0, expected more than 0"),
        ({"images": 3}, r"snapshots\.images: found 3, expected at least 4"),
        ({"stop_below": -0.1}, r"snapshots\.stop_below: found -0\.1"),
        ({"patience": 0}, r"snapshots\.patience: found 0, expected at least 1"),
        ({"keep": "first"}, r"snapshots\.keep: expected one of best, last"),
    ],
)
def test_impossible_settings_are_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    setup = Setup(tmp_path, snapshots={**SNAPSHOTS, **change})
    with pytest.raises((UsageError, ParamsError), match=message):
        run_train(setup)


def test_another_way_to_judge_refuses_an_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "publish", lambda *_: (_ for _ in ()).throw(RuntimeError("power cut")))
        with pytest.raises(RuntimeError):
            run_train(setup)
    write_params(setup.params, snapshots={**EVERY_TICK, "images": 7})
    with pytest.raises(UsageError, match=r"snapshots\.images: 6 then, 7 now"):
        run_train(setup)


def sweep(setup: Setup, *asked: str | float) -> dict[str, Any]:
    write_params(setup.params, snapshots=EVERY_TICK, swap={**SWAP, "snapshots": list(asked)})
    swap(setup.params, setup.source, setup.out, setup.folder / "swap", new_run(setup.folder))
    return verify_manifest(setup.folder / "swap")


def test_every_level_is_made_of_every_snapshot_asked_for_and_equal_ones_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_of(tmp_path)
    judged(setup, [(0.9, 1.0), (0.2, 1.0), (0.5, 1.0), (0.3, 1.0)], monkeypatch)
    takes = sweep(setup, "best", 0.009, "last", 1.0)["snapshots"]
    assert [(take["name"], round(1000 * take["kimg"]), take["folder"]) for take in takes] == [
        ("best", 16, "best"), ("0.009_kimg", 8, "0.009_kimg"), ("last", 32, "last"), ("1_kimg", 32, "last"),
    ]  # fmt: skip
    files = {path.relative_to(tmp_path / "swap").as_posix() for path in (tmp_path / "swap").rglob("*.safetensors")}
    assert files == {f"{name}/weights-{at}.safetensors" for name in ("best", "0.009_kimg", "last") for at in (8, 16)}
    for take in takes:
        tuned = load_generator(setup.out / take["file"])
        blend = load_generator(tmp_path / "swap" / take["folder"] / "weights-8.safetensors")
        assert torch.equal(blend.synthesis.block(32).conv1.weight, tuned.synthesis.block(32).conv1.weight)
    one = sweep(setup, "kept")
    assert [(take["name"], take["folder"]) for take in one["snapshots"]] == [("kept", "")]
    assert (tmp_path / "swap" / "weights-8.safetensors").is_file()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], r"swap\.snapshots: found \[\], expected at least one of kept, best, last"),
        ([0], r"swap\.snapshots: found \[0\.0\]"),
        (["first"], r"swap\.snapshots\[0\]: expected one of kept, best, last or a number"),
    ],
)
def test_impossible_snapshots_are_refused_by_name(tmp_path: Path, asked: list[Any], message: str) -> None:
    setup = Setup(tmp_path)
    run_train(setup)
    with pytest.raises((UsageError, ParamsError), match=message):
        sweep(setup, *asked)


def test_a_training_without_snapshots_has_to_be_made_again(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    with publish_folder(setup.out, {"method": "a", "dataset": "flat", "seed": "s0", "techniques": {}}):
        pass
    with pytest.raises(CorruptInputError, match="before trainings kept snapshots; train again"):
        sweep(setup, "kept")
