"""``python -m stages.remeasure``: measure a registered generator beside the cells of today's comparison."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from model.errors import UsageError
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.measuring.instruments import Asked, look_for
from stages.measuring.settings import EvaluateParams


def remeasure(
    params: Path,
    reference: Path,
    lmdb: Path,
    source: Path,
    generator: Path,
    techniques: str,
    tuned_from: str,
    out: Path,
    run: Run,
) -> None:
    """Measure the file --generator as the stage evaluate measures a training's; write the JSON file --out.

    --techniques is a JSON object with the settings of those it was tuned by, --tuned-from the sha256 of the source that
    it was tuned from: without both, nobody knows with which style vectors it draws.
    """
    try:
        settings_of = json.loads(techniques)
    except ValueError as error:
        raise UsageError(f"--techniques: not JSON ({error}), expected an object: technique -> settings") from error
    settings = replace(read_section(params, "evaluate", EvaluateParams), path_length=0)  # smoothness ranks nobody
    wanted = read_section(params, "compare.similarity", tuple[str, ...])
    names = {"style": settings.style, "likeness": settings.likeness, "diversity": (settings.diversity,)}
    present = look_for(Asked(params, names, settings.on_missing, (f"reference@{lmdb.name}",)))

    from stages.remeasure.again import Registered, Today, measure_again  # takes seconds: torch and all it needs

    registered = Registered(generator, settings_of, tuned_from)
    measure_again(registered, Today(reference, lmdb, source, settings, wanted), present, out, run)


if __name__ == "__main__":
    run_stage(remeasure)
