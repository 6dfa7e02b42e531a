"""Drawing all z, a batch at a time: what is kept is what was drawn, whatever the number of z."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.data.images import to_uint8
from stages.measuring import drawn as module
from stages.measuring.drawing import Cell, Picture
from stages.measuring.drawn import Keep, draw_all, redraw
from stages.measuring.spool import Spool
from tests.measuring.bench import Counting, Pixels

PLAIN, SWAPPED = Cell("", "none", 0), Cell("", "weights", 8)


def picture(z: Tensor, shift: float) -> Tensor:
    """Draw z as one colour: ``[N, 3, 8, 8]``."""
    return (torch.tanh(z[:, :3] + shift))[:, :, None, None].expand(-1, -1, 8, 8)


def draw(z: Tensor, paired: bool) -> Iterator[Picture]:
    assert len(z) == module.BATCH
    yield PLAIN, picture(z, 0.5) if paired else None, picture(z, 0.0)
    both = picture(z, 1.0)
    yield SWAPPED, both if paired else None, both


def keep(folder: Path, pairs: int = 70, varied: int = 65) -> Keep:
    return Keep(pairs, varied, {"pixels": Counting(Pixels())}, folder)


@pytest.mark.parametrize("count", [64, 65, 128, 130])
def test_what_is_kept_is_what_was_drawn_also_in_a_last_short_batch(tmp_path: Path, count: int) -> None:
    z = torch.randn(count, 8, generator=torch.Generator().manual_seed(0))
    kept = keep(tmp_path, pairs=min(70, count), varied=60)
    found = draw_all(draw, z, kept, "test")
    assert list(found) == [PLAIN, SWAPPED]
    plain, own = to_uint8(picture(z, 0.5)), to_uint8(picture(z, 0.0))
    assert np.array_equal(found[PLAIN].pairs.read(), plain[: kept.pairs])
    assert np.array_equal(found[PLAIN].own.read(), own[: kept.pairs])
    assert np.array_equal(found[PLAIN].varied.read(), own[:60])
    assert np.array_equal(found[PLAIN].features("pixels"), Pixels()(own))
    assert found[SWAPPED].pairs.digest == found[SWAPPED].own.digest != found[PLAIN].pairs.digest


def test_no_network_is_asked_for_an_image_that_nobody_drew(tmp_path: Path) -> None:
    kept = keep(tmp_path)
    draw_all(draw, torch.randn(70, 8), kept, "test")
    extractor = kept.extractors["pixels"]
    assert isinstance(extractor, Counting)
    assert extractor.seen.total() == 2 * 70


def test_a_few_are_drawn_again_as_they_were(tmp_path: Path) -> None:
    z = torch.randn(100, 8, generator=torch.Generator().manual_seed(1))
    found = draw_all(draw, z, keep(tmp_path, pairs=100), "test")
    chosen = torch.tensor([3, 99, 3, *range(70)])
    again = redraw(draw, z[chosen], paired=True)
    for cell, images in again.items():
        assert np.array_equal(images, found[cell].pairs.read()[chosen])
    assert list(redraw(draw, z[chosen], cells=1, paired=False)) == [PLAIN]
    assert np.array_equal(redraw(draw, z[chosen], cells=1, paired=False)[PLAIN], found[PLAIN].own.read()[chosen])


def test_pictures_on_disk_are_told_apart_by_their_content(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    whole, parts, other = (Spool(tmp_path / name) for name in ("whole", "parts", "other"))
    whole.append(images)
    parts.append(images[:2])
    parts.append(images[2:])
    other.append(images[::-1])
    assert np.array_equal(parts.read(), images)
    assert whole.digest == parts.digest != other.digest
