"""Truncation: exact at 0 and 1, a straight line between, coarse rows only when asked."""

from __future__ import annotations

import pytest
import torch

from model.latents.truncation import truncate

WS = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
MEAN = torch.randn(5, generator=torch.Generator().manual_seed(1))


def test_psi_one_leaves_the_styles_alone_and_psi_zero_gives_the_mean_bit_for_bit() -> None:
    assert torch.equal(truncate(WS, MEAN, 1.0), WS)
    assert torch.equal(truncate(WS, MEAN, 0.0), MEAN.expand(3, 8, 5))


def test_psi_between_is_a_straight_line_to_the_mean() -> None:
    assert torch.allclose(truncate(WS, MEAN, 0.7), MEAN + 0.7 * (WS - MEAN), atol=1e-6)


@pytest.mark.parametrize("cutoff", [0, 3, 8])
def test_a_cutoff_truncates_the_coarsest_styles_alone(cutoff: int) -> None:
    out = truncate(WS, MEAN, 0.5, cutoff)
    assert torch.equal(out[:, cutoff:], WS[:, cutoff:])
    assert torch.equal(out[:, :cutoff], truncate(WS, MEAN, 0.5)[:, :cutoff])


def test_the_result_is_a_new_tensor_also_for_repeated_rows() -> None:
    ws = WS[:, :1].expand(-1, 8, -1)
    before = ws.clone()
    out = truncate(ws, MEAN, 0.5)
    out.zero_()
    assert torch.equal(ws, before)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"w_avg \[4\]"):
        truncate(WS, torch.zeros(4), 0.7)
    with pytest.raises(ValueError, match="cutoff: found 9, expected 0 to 8"):
        truncate(WS, MEAN, 0.7, 9)
