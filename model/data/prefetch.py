"""The next batch is gathered by a thread while the current one trains."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

import torch
from torch import Tensor

from model.data.dataset import to_network


class RawImages(Protocol):
    """Images that can be had as they are stored."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def raw(self, indices: Sequence[int]) -> Tensor:
        """Return uint8 ``[len(indices), R, R, 3]``."""
        ...


class Prefetched:
    """``images`` on ``device``, read one batch ahead; the values are those of reading when asked.

    Batches cross to a CUDA device as uint8 from pinned memory, without waiting, and become floats there.

    Batches are expected in the order of the hints. Every hint serves once; one that was passed over is dropped, and
    what nobody announced is read when asked. An error that the thread met is raised, unchanged, by the ``batch`` that
    it belongs to. Use it as a context: leaving it ends the thread.
    """

    def __init__(self, images: RawImages, device: torch.device) -> None:
        self.images, self.device = images, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._ahead: deque[tuple[list[int], Future[Tensor]]] = deque()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Begin to gather the images of a ``batch`` to come, after those announced before."""
        wanted = list(indices)
        self._ahead.append((wanted, self._thread.submit(self._gather, wanted)))

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return the images at ``indices``, ``[len(indices), 3, R, R]`` in [-1, 1], on the device."""
        raw = self._announced(list(indices))
        if raw is None:
            raw = self._gather(list(indices))
        return to_network(raw.to(self.device, non_blocking=True))

    def close(self) -> None:
        """End the thread; what it is gathering is finished and dropped."""
        self._ahead.clear()
        self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _announced(self, wanted: list[int]) -> Tensor | None:
        while self._ahead:
            indices, gathered = self._ahead.popleft()
            if indices == wanted:
                return gathered.result()
            gathered.cancel()
        return None

    def _gather(self, indices: list[int]) -> Tensor:
        raw = self.images.raw(indices)
        return raw.pin_memory() if self.device.type == "cuda" else raw
