"""A registered generator measured again: as what it is today, beside today's cells, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.checkpoint.native import read_header, save_networks
from model.errors import CorruptInputError, UsageError
from stages.comparing.likeness import measures, with_similarity
from stages.comparing.reading import Grid, read_evaluations
from stages.comparing.table import Cell
from stages.remeasure.__main__ import remeasure
from tests.finetune.test_techniques import METHODS
from tests.measuring.bench import Bench
from tests.stages.training import new_run, write_params, write_source
from tests.tiny import tiny_generator

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("opened")]
SIMILARITY = ["landmark_nme", "attribute_mse"]


def again(bench: Bench, generator: Path, **changed: Any) -> dict[str, Any]:
    write_params(bench.params, evaluate=bench.settings, compare={"similarity": SIMILARITY})
    tuned_from = read_header(bench.source / "networks.safetensors").sha256
    told = {
        "reference": bench.reference, "lmdb": bench.lmdb, "source": bench.source, "generator": generator,
        "techniques": json.dumps(METHODS[bench.method]), "tuned_from": tuned_from, "out": bench.folder / "again.json",
    } | changed  # fmt: skip
    remeasure(bench.params, **told, run=new_run(bench.folder))
    found: dict[str, Any] = json.loads(told["out"].read_text())
    return found


def compared(bench: Bench, swap: str, level: int) -> Cell:
    """A cell as the stage compare writes it into the table."""
    measured = read_evaluations(bench.out.parent, Grid("", ("flat",), (bench.method,), ("s0",)))
    cells = with_similarity(measured.cells, measures(SIMILARITY, measured.cells, []))
    (cell,) = [one for one in cells if (one.swap, one.level) == (swap, level)]
    return cell


def test_generators_of_todays_comparison_get_the_numbers_of_their_cells_to_the_last_digit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "freeze_sg", path_length=0)
    metrics = bench.run()
    for swap, level in (("none", 0), ("weights", 8)):
        blend = bench.swaps / f"{swap}-{level}.safetensors"
        found = again(bench, bench.trained / "generator.safetensors" if swap == "none" else blend)
        cell = compared(bench, swap, level)
        assert {name: value for name, value in found["cell"].items() if name != "pairs:similarity"} == (
            cell.values | cell.gates
        )
        assert np.array_equal(found["cell"]["pairs:similarity"], cell.pairs["similarity"])
        assert found["style"] == f"kid70_x1e3[{metrics['style']}]"
        assert found["facts"]["lmdb_digest"] == metrics["lmdb_digest"]
        assert found["facts"]["instruments"] == metrics["instruments"]
        assert found["source"] == metrics["weights"]["source"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]  # nothing is left beside the file


def test_a_generator_of_another_architecture_or_with_flipped_bits_is_refused_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    bench.refer()
    monkeypatch.setattr("stages.measuring.measure.draw_all", None)
    other = tmp_path / "other.safetensors"
    save_networks(other, generator=tiny_generator(1, 64), provenance={})
    with pytest.raises(UsageError, match=r"another architecture .*resolution=64.* than the source .*resolution=32"):
        again(bench, other)
    other.write_bytes(other.read_bytes()[:-1])
    with pytest.raises(CorruptInputError, match=r"other\.safetensors"):
        again(bench, other)


def test_who_borrows_style_vectors_of_a_source_that_is_gone_is_refused_and_others_are_measured(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.refer()
    generator = bench.trained / "generator.safetensors"
    borrows = json.dumps(METHODS["freeze_sg"])
    with pytest.raises(UsageError, match=r"style vectors of the source it was tuned from \(ffffffffffff\)"):
        again(bench, generator, techniques=borrows, tuned_from="f" * 64)
    write_source(bench.source)
    assert again(bench, generator, tuned_from="f" * 64)["cell"]["similarity"] < 1
