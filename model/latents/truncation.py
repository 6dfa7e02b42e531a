"""The truncation trick: less variety for cleaner faces."""

from __future__ import annotations

import torch
from torch import Tensor


def truncate(ws: Tensor, w_avg: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """Pull style vectors towards their mean (the truncation trick).

    Args:
        ws: style vectors ``[N, num_ws, w_dim]``.
        w_avg: running mean of w, ``[w_dim]``.
        psi: 1 leaves ``ws`` alone, 0 gives the mean face; 0.5-0.8 is usual.
        cutoff: truncate only the first ``cutoff`` (coarsest) styles; None means all.

    Returns: a new tensor, same shape, dtype and device as ``ws``.
    Raises: ValueError if ``ws`` and ``w_avg`` disagree about ``w_dim``.
    Source: Karras et al. 2019 (StyleGAN), appendix B.
    """
    if ws.ndim != 3 or w_avg.shape != ws.shape[-1:]:
        raise ValueError(
            f"truncate: ws {list(ws.shape)} and w_avg {list(w_avg.shape)}, expected [N, num_ws, w_dim] and [w_dim]"
        )
    num_ws = ws.shape[1]
    if cutoff is not None and not 0 <= cutoff <= num_ws:
        raise ValueError(f"cutoff: found {cutoff}, expected 0 to {num_ws} styles, or None for all")
    out = ws.clone(memory_format=torch.contiguous_format)
    rows = out[:, :cutoff]
    rows.copy_(torch.lerp(w_avg.to(ws), ws[:, :cutoff], psi))  # lerp is exact at 0 and at 1
    return out
