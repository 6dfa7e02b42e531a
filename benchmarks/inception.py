"""Inception of FID: normalisation folded into the convolutions and channels last, against the plain form.

python -m benchmarks.inception --batch 8 --repeats 7 --json OUT.json

Weights are random: speed does not depend on them, and what folding changes is measured with them, too.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.train_step import environment, processor_seconds
from model.metrics.extractors.inception import SIZE, InceptionNet
from model.metrics.extractors.running import exact


def calibrated(images: Tensor) -> InceptionNet:
    """A seeded network whose normalisation fits its maps for ``images``, so that its features spread."""
    torch.manual_seed(0)
    net = InceptionNet()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
    with torch.no_grad():
        net(images)
    return net.eval().requires_grad_(False)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Processor seconds on a CPU, by the clock on a GPU."""
    if device.type == "cpu":
        return processor_seconds(lambda: (work(), None)[1])
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def forms_of(plain: InceptionNet) -> dict[str, InceptionNet]:
    """The plain form, each change alone, and both: what the extractor runs."""
    forms = {"plain": plain, **{name: copy.deepcopy(plain) for name in ("channels last", "folded", "both")}}
    forms["channels last"].to(memory_format=torch.channels_last)
    forms["both"].fold()
    forms["folded"].fold()
    forms["folded"].to(memory_format=torch.contiguous_format)
    return forms


def measure(batch: int, repeats: int, device: torch.device) -> dict[str, object]:
    """Time all forms in turns; medians of the paired ratios, and how far the features move."""
    images = torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    forms = forms_of(calibrated(images[:4]).to(device))
    images = images.to(device)
    given = {
        name: images.contiguous(memory_format=torch.channels_last) if name in ("channels last", "both") else images
        for name in forms
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    with exact():
        for repeat in range(repeats + 1):  # the first one warms up
            for name in list(forms)[:: 1 if repeat % 2 else -1]:
                net, shown = forms[name], given[name]
                times[name].append(seconds(lambda net=net, shown=shown: net(shown), device))  # type: ignore[misc]
        features = {name: net(given[name]) for name, net in forms.items()}
    result: dict[str, object] = {}
    for name in forms:
        ratios = [a / b for a, b in zip(times["plain"][1:], times[name][1:], strict=True)]
        moved = (features[name] - features["plain"]).abs().max() / features["plain"].max()
        result[name] = {
            "ms_per_image": 1000 * statistics.median(times[name][1:]) / batch, "ratio": statistics.median(ratios),
            "ratio_min": min(ratios), "ratio_max": max(ratios), "features_moved": float(moved),
        }  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="8: what the extractor takes on a CPU; 64 on a GPU")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = measure(arguments.batch, arguments.repeats, torch.device(arguments.device))
    for name, row in result.items():
        assert isinstance(row, dict)
        print(
            f"{name:14} {row['ms_per_image']:7.2f} ms per image, x{row['ratio']:.2f} ({row['ratio_min']:.2f} - "
            f"{row['ratio_max']:.2f}), features moved by {row['features_moved']:.1e} of the largest"
        )
    if arguments.json:
        whole = environment() | {"batch": arguments.batch, "device": arguments.device, "forms": result}
        arguments.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
