"""How measuring networks are run: whole batches, plain float32, on the GPU if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from model.metrics.extractors.base import Floats, Images

ON_CPU, ON_GPU = 8, 64  # images at a time


def best_device() -> torch.device:
    """Return where large networks run: metrics agree between devices to about 1e-3, and say where they were made."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def exact() -> Iterator[None]:
    """Compute without gradients, without TF32 and without algorithms that are chosen by timing them."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def check_images(images: Images) -> None:
    """Refuse what is not a stack of square pictures, uint8 ``[N, S, S, 3]``, with a ValueError."""
    square = images.ndim == 4 and images.shape[3] == 3 and images.shape[1] == images.shape[2]
    if images.dtype != np.uint8 or not square or not len(images):
        raise ValueError(f"expected square uint8 images [N, S, S, 3], got {images.dtype} {images.shape}")


def in_batches(
    images: Images, prepare: Callable[[Images], Tensor], run: Callable[[Tensor], Tensor], device: torch.device
) -> Floats:
    """Run a network over images.

    Args:
        images: uint8 ``[N, S, S, 3]``.
        prepare: uint8 images -> what the network reads, float32 ``[N, ...]``.
        run: that -> float32 ``[N, ...]``.
        device: where ``run`` computes.

    Returns: float32 ``[N, ...]``.
    """
    check_images(images)
    return run_whole(len(images), lambda part: prepare(images[part]), run, device)


def run_whole(
    count: int, ready: Callable[[slice], Tensor], run: Callable[[Tensor], Tensor], device: torch.device
) -> Floats:
    """Run a network over ``count`` things, of which ``ready`` gives a part, in batches of one size.

    The last batch is filled up: kernels differ by batch size, and a result must not depend on what it came with.
    """
    size = ON_GPU if device.type == "cuda" else ON_CPU
    results = []
    with exact():
        for start in range(0, count, size):
            part = ready(slice(start, min(start + size, count)))
            filled = torch.cat([part, part[-1:].expand(size - len(part), *part.shape[1:])])
            results.append(run(filled.to(device))[: len(part)].float().cpu().numpy())
    return np.ascontiguousarray(np.concatenate(results))
