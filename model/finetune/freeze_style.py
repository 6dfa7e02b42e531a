"""FreezeStyle: the coarse style vectors come from the source's mapping network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import UsageError
from model.finetune.technique import Codes, Technique


@dataclass(frozen=True)
class FreezeStyle(Technique):
    """Take the first ``coarse_ws`` style vectors from the source's mapping network, for every image of every batch.

    Rows do not align with blocks: row 3 is shared by the RGB of 8 px and the first convolution of 16 px.

    Source: Back 2021 (Cartoon-StyleGAN), section 3.2, FreezeSG.
    """

    coarse_ws: int  # style vectors, from the coarsest

    def check(self, resolution: int, num_ws: int) -> None:
        """Refuse more rows than there are."""
        if not 1 <= self.coarse_ws <= num_ws:
            raise UsageError(f"methods: freeze_style.coarse_ws: found {self.coarse_ws}, expected 1 to {num_ws}")

    def styles(self, ws: Tensor, codes: Codes) -> Tensor:
        """Replace the coarse rows."""
        return torch.cat([codes.source_ws[:, : self.coarse_ws], ws[:, self.coarse_ws :]], 1)
