"""DVC stage ``evaluate``: measure snapshots of a trained generator at every swap level."""

from __future__ import annotations

from pathlib import Path

from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.measuring.instruments import Asked, look_for
from stages.measuring.settings import EvaluateParams


def evaluate(
    params: Path, reference: Path, lmdb: Path, source: Path, trained: Path, swaps: Path, out: Path, run: Run
) -> None:
    """Measure --trained and its --swaps against --source (likeness) and --lmdb (style); write --out.

    The features of --lmdb are those in --reference. Missing weights end this within a second, before anything heavy is
    loaded.
    """
    settings = read_section(params, "evaluate", EvaluateParams)
    names = {"style": settings.style, "likeness": settings.likeness, "diversity": (settings.diversity,)}
    again = (f"reference@{lmdb.name}", f"evaluate@{out.name}")
    present = look_for(Asked(params, names, settings.on_missing, again))

    from stages.measuring.evaluation import Inputs, run_evaluation  # takes seconds: torch and all it needs

    run_evaluation(Inputs(reference, lmdb, source, trained, swaps, out), settings, present, run)


if __name__ == "__main__":
    run_stage(evaluate)
