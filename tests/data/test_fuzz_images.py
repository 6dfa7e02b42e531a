"""Mutated pictures end as a picture or as our error (few here, many by ``python -m tests.data.fuzz_images``)."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from model.data.images import decode_image
from tests.data.fuzz_images import fuzz, mutated, zoo
from tests.stages.world import Bench


@pytest.mark.parametrize("name", zoo())
def test_every_picture_that_is_mutated_can_be_read_before(name: str) -> None:
    assert decode_image(io.BytesIO(zoo()[name]), name).ndim == 3


def test_mutated_pictures_cause_no_crash_no_hang_and_no_other_error() -> None:
    found = fuzz(count=1500, seed=11)
    assert found["bad"] == []
    assert found["read"] > 100
    assert found["refused"] > 100


def sabotaged(connection: Any, seed: int) -> None:
    """A gate that crashes on picture 1, hangs on 2 and raises what it should not on 3."""
    while (number := connection.recv()) is not None:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 2:
            time.sleep(60)
        connection.send("KeyError: 3" if number == 3 else "read")


def test_the_harness_sees_crashes_hangs_and_other_errors_and_goes_on() -> None:
    found = fuzz(count=5, seed=0, limit_s=1.0, judged=sabotaged)
    assert [(item["number"], item["verdict"]) for item in found["bad"]] == [
        (1, "crash, exit code -9"), (2, "hang"), (3, "KeyError: 3"),
    ]  # fmt: skip
    assert found["read"] == 2


def test_a_folder_of_mutated_pictures_is_crawled_and_nothing_is_written_outside(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(int(os.environ.get("CARTOON_FUZZ", "300"))):
        (tmp_path / "in" / f"{number:05d}.png").write_bytes(mutated(5, number)[1])
    bench.folder_dataset("mine", tmp_path / "in", max_bad_fraction=0.99)
    before = {path: path.stat().st_mtime_ns for path in [tmp_path / "in", *(tmp_path / "in").iterdir()]}
    bench.crawl("mine")
    assert before == {path: path.stat().st_mtime_ns for path in [tmp_path / "in", *(tmp_path / "in").iterdir()]}
    assert {path.name for path in tmp_path.iterdir()} == {"in", "raw", "record", "params.yaml", "none.txt"}
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {"mine", ".mine.lock"}
