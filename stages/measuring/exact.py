"""Arithmetic that gives the same numbers every time, and a note of what they were made with."""

from __future__ import annotations

import numpy as np
import PIL
import scipy
import torch


def be_exact() -> None:
    """Turn off, for this process, everything that trades a metric's last digits for speed."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


def made_with(device: torch.device) -> dict[str, str | int]:
    """Return what the last digits of metrics depend on."""
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "device": device.type, "accelerator": accelerator, "threads": torch.get_num_threads(),
        "torch": torch.__version__, "numpy": np.__version__, "scipy": scipy.__version__, "pillow": PIL.__version__,
    }  # fmt: skip
