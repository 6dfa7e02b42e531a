"""Reading one batch ahead changes when images are read, never which."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.data.dataset import ArrayImages
from model.data.prefetch import Prefetched
from model.errors import CorruptInputError
from model.finetune import load_method
from model.training.trainer import Trainer
from tests.finetune.test_techniques import METHODS
from tests.tiny import CONFIG, run, tiny_images, tiny_networks

CPU = torch.device("cpu")


class Recorded:
    """Images that note which thread read what, and fail on one of them."""

    def __init__(self, bad: int = -1) -> None:
        self.images, self.bad = tiny_images(), bad
        self.reads: list[tuple[list[int], bool]] = []

    def __len__(self) -> int:
        return len(self.images)

    def raw(self, indices: Sequence[int]) -> Tensor:
        self.reads.append((list(indices), threading.current_thread() is threading.main_thread()))
        if self.bad in indices:
            raise CorruptInputError(f"data.mdb: record 32-{self.bad:05d}: missing")
        return self.images.raw(indices)


def test_what_was_announced_is_read_by_the_thread_once_and_equals_a_plain_read() -> None:
    images = Recorded()
    with Prefetched(images, CPU) as reader:
        reader.prefetch([3, 1])
        reader.prefetch([2])
        assert torch.equal(reader.batch([3, 1]), tiny_images().batch([3, 1]))
        assert torch.equal(reader.batch([2]), tiny_images().batch([2]))
        assert images.reads == [([3, 1], False), ([2], False)]
        reader.batch([2])  # a hint serves once
    assert images.reads[2:] == [([2], True)]
    assert len(reader) == 12


def test_what_nobody_announced_is_read_when_asked_and_a_passed_over_hint_is_dropped() -> None:
    images = Recorded()
    with Prefetched(images, CPU) as reader:
        assert torch.equal(reader.batch([4]), tiny_images().batch([4]))
        reader.prefetch([5])
        reader.prefetch([6])
        assert torch.equal(reader.batch([6]), tiny_images().batch([6]))
        assert torch.equal(reader.batch([5]), tiny_images().batch([5]))
    assert [by_main for indices, by_main in images.reads if indices == [5]][-1]
    assert ([6], True) not in images.reads


def test_an_error_of_the_thread_is_raised_by_the_batch_it_belongs_to_and_names_the_record() -> None:
    with Prefetched(Recorded(bad=7), CPU) as reader:
        reader.prefetch([1])
        reader.prefetch([7])
        reader.batch([1])
        with pytest.raises(CorruptInputError, match="record 32-00007"):
            reader.batch([7])
        assert torch.equal(reader.batch([2]), tiny_images().batch([2]))  # and it goes on


def test_leaving_the_context_ends_the_thread_whatever_happened_in_it() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), Prefetched(Recorded(bad=7), CPU) as reader:
        reader.prefetch([7])
        reader.prefetch([1])
        assert threading.active_count() == before + 1
        raise KeyError
    assert threading.active_count() == before
    with pytest.raises(RuntimeError):
        reader.prefetch([1])


def test_training_from_a_prefetching_reader_changes_no_bit_and_reads_each_batch_ahead(tmp_path: Path) -> None:
    method = {**METHODS["structure_loss"]}
    plain = run(Trainer(tiny_networks(), tiny_images(), CONFIG, load_method(method), seed=0))
    images = Recorded()
    with Prefetched(images, CPU) as reader:
        ahead = run(Trainer(tiny_networks(), reader, CONFIG, load_method(method), seed=0))
    for one, two in zip(plain.nets.ema.parameters(), ahead.nets.ema.parameters(), strict=True):
        assert torch.equal(one, two)
    assert [by_main for _, by_main in images.reads].count(True) == 1  # the first batch
    assert np.shape(ahead.nets.ema.w_avg) == np.shape(plain.nets.ema.w_avg)


def test_an_array_takes_the_hint_and_does_nothing() -> None:
    images = ArrayImages(np.zeros((2, 4, 4, 3), np.uint8))
    images.prefetch([0, 99])
    assert images.batch([1]).shape == (1, 3, 4, 4)
