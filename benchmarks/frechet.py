"""Distances between sets of features: our root against scipy's sqrtm and eigvals, and a whole evaluation.

OMP_NUM_THREADS=1 python -m benchmarks.frechet roots --repeats 3 --json OUT.json
python -m benchmarks.frechet evaluation --json OUT.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy
from scipy import linalg

from benchmarks.train_step import environment, processor_seconds
from model.metrics.frechet import Gaussian, frechet_between
from model.metrics.kid import kid
from model.metrics.moments import moments_of
from model.metrics.prdc import prdc

D = 2048  # features of Inception's last pool
REAL = 8000


def features(seed: int, n: int) -> np.ndarray:
    """Gaussian features ``[n, D]``, float32 as caches keep them: variances as 1/i, 100 in all, correlated."""
    rng = np.random.default_rng(seed)
    spectrum = 1.0 / np.arange(1, D + 1)
    scale = np.sqrt(100.0 * spectrum / spectrum.sum()).astype(np.float32)
    rows = rng.standard_normal((n, D), dtype=np.float32) * scale
    mirror = np.random.default_rng(1).standard_normal(D).astype(np.float32)
    mirror /= np.linalg.norm(mirror)
    rows -= np.float32(2.0) * np.outer(rows @ mirror, mirror)  # a reflection mixes all columns
    return rows + np.float32(0.5)


def by_sqrtm(product: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", linalg.LinAlgWarning)  # a product of less than full rank is the usual case here
        return float(np.trace(linalg.sqrtm(product)).real)


def by_eigenvalues(product: np.ndarray) -> float:
    return float(np.sqrt(np.linalg.eigvals(product).astype(np.complex128)).real.sum())


def compare(n: int, repeats: int) -> dict[str, object]:
    """A cell of ``n`` images against ``REAL`` real ones whose statistics are ready, three ways in turns.

    Means and covariances are made beforehand where a way begins with them: all but ours for fewer images than features.
    """
    real, cell = Gaussian.fit(features(2, REAL)), moments_of(features(3, n))
    target, rows = real.root.T @ real.root, features(3, n)
    shift = cell.mean - real.mean
    rest = float(shift @ shift) + float(np.trace(cell.covariance)) + real.trace
    values: dict[str, float] = {}

    def ours() -> None:
        values["ours"] = frechet_between(Gaussian.fit(rows) if n <= D else Gaussian.of_moments(cell), real)

    ways: dict[str, Callable[[], None]] = {
        "ours": ours,
        "eigvals": lambda: values.update(eigvals=rest - 2.0 * by_eigenvalues(cell.covariance @ target)),
        "sqrtm": lambda: values.update(sqrtm=rest - 2.0 * by_sqrtm(cell.covariance @ target)),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name in list(ways)[:: 1 if repeat % 2 else -1]:
            times[name].append(processor_seconds(ways[name]))
    row: dict[str, object] = {"n": n, "distance": values["ours"], "ours_s": statistics.median(times["ours"])}
    for name in ("eigvals", "sqrtm"):
        ratios = [theirs_s / ours_s for theirs_s, ours_s in zip(times[name], times["ours"], strict=True)]
        row |= {
            f"{name}_s": statistics.median(times[name]), f"{name}_ratio": statistics.median(ratios),
            f"{name}_ratio_range": [min(ratios), max(ratios)], f"{name}_error": values[name] - values["ours"],
        }  # fmt: skip
    return row


def roots(sizes: list[int], repeats: int) -> dict[str, object]:
    rows = []
    for n in sizes:
        row = compare(n, repeats)
        rows.append(row)
        print(
            f"n {n}: ours {row['ours_s']:.2f} s, sqrtm {row['sqrtm_s']:.1f} s (x{row['sqrtm_ratio']:.1f}, "
            f"off by {row['sqrtm_error']:.1e}), eigvals {row['eigvals_s']:.1f} s (x{row['eigvals_ratio']:.1f}, "
            f"off by {row['eigvals_error']:.1e}); processor, {repeats} repeats",
            flush=True,
        )
    return {"d": D, "real": REAL, "repeats": repeats, "rows": rows}


def evaluation(generated: int) -> dict[str, object]:
    """FD, KID and PRDC of cached features, once; wall and processor seconds of each and the highest memory."""
    cell, real = features(3, generated), features(2, REAL)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result: dict[str, object] = {"generated": generated, "real": REAL, "d": D, "features_GB": before / 2**20}
    ready = Gaussian.fit(real)
    parts: dict[str, Callable[[], object]] = {
        "fit of the real side, once per dataset": lambda: Gaussian.fit(real),
        "FD": lambda: frechet_between(Gaussian.fit(cell), ready),
        "KID, full sample": lambda: kid(cell, real),
        "PRDC": lambda: prdc(real, cell, seed=0),
    }
    seconds = {}
    for name, work in parts.items():
        wall, processor = time.perf_counter(), time.process_time()
        work()
        seconds[name] = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        print(f"{name}: {seconds[name]['wall']:.1f} s ({seconds[name]['processor']:.1f} s of processor)", flush=True)
    whole = sum(part["wall"] for part in seconds.values()), sum(part["processor"] for part in seconds.values())
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"whole: {whole[0]:.1f} s ({whole[1]:.1f}); peak {after / 2**20:.2f} GB, {before / 2**20:.2f} before")
    return result | {"seconds": seconds, "wall": whole[0], "processor": whole[1], "peak_GB": after / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=("roots", "evaluation"))
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[100, 300, 1000, 10_000], help="images of a cell (roots)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="of roots")
    parser.add_argument("--generated", type=int, default=50_000, help="images of the evaluation")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    measured = (
        roots(arguments.sizes, arguments.repeats) if arguments.part == "roots" else evaluation(arguments.generated)
    )
    if arguments.json:
        about = environment() | {
            "precision": "float64", "threads": os.environ.get("OMP_NUM_THREADS", "all"),
            "numpy": np.__version__, "scipy": scipy.__version__,
        }  # fmt: skip
        arguments.json.write_text(json.dumps(about | measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
