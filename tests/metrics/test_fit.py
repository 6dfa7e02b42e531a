from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.metrics import fit as fit_module
from model.metrics.fit import FitParams, attribute_net, draw_batch, fit, style_net
from tests.metrics.standin import LIVELY, STILL, probe_set


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def params(steps: int) -> FitParams:
    return FitParams(kimg=steps * 16 / 1000, batch=16, learning_rate=2e-3, jitter=LIVELY)


@pytest.mark.slow
def test_both_networks_learn(tmp_path: Path) -> None:
    data, easy = probe_set(64), replace(params(60), jitter=STILL)
    for make in (attribute_net, style_net):
        torch.manual_seed(0)
        losses = [report.loss for report in fit(make(data), data, easy, 1, tmp_path / make.__name__)]
        assert losses[-1] < 0.9 * losses[0]


def test_an_interrupted_training_ends_bit_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "STATE_EVERY", 4)
    monkeypatch.setattr(fit_module, "REPORT_EVERY", 2)
    data = probe_set(16)
    torch.manual_seed(0)
    whole, stopped, resumed = (style_net(data) for _ in range(3))
    stopped.load_state_dict(whole.state_dict())
    list(fit(whole, data, params(10), 1, tmp_path / "whole"))
    for report in fit(stopped, data, params(10), 1, tmp_path / "state"):
        if report.images >= 6 * 16:
            break
    reports = list(fit(resumed, data, params(10), 1, tmp_path / "state"))
    assert reports[0].images == 6 * 16  # it went on from step 4, not from 0
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_state_of_another_recipe_is_not_continued(tmp_path: Path) -> None:
    data = probe_set(16)
    list(fit(style_net(data), data, params(2), 1, tmp_path / "state"))
    assert [r.images for r in fit(style_net(data), data, params(2), 2, tmp_path / "state")] == [32]
    assert [r.images for r in fit(style_net(data), data, params(2), 2, tmp_path / "state")] == []


def test_targets_are_standardised_and_points_in_the_unit_square() -> None:
    data = probe_set(200)
    batch = draw_batch(data, FitParams(kimg=1, batch=512, learning_rate=0.0, jitter=STILL), seed=0, step=0)
    assert float(batch.attributes.mean()) == pytest.approx(0.0, abs=0.1)
    assert float(batch.attributes.std()) == pytest.approx(1.0, abs=0.1)
    assert np.isin(batch.styles.numpy(), [0, 1]).all()
    assert 0.0 <= float(batch.seen.points.min()) <= float(batch.seen.points.max()) <= 1.0
