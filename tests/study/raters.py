"""Made-up raters: they choose by known strengths, and sit before no screen."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.study.exports import SCHEMA
from stages.study.plan import PERSON, Item, Study

TRUE = {"baseline": 0.0, "freeze_g": 1.6, "structure_loss": 0.8}


def export(
    study: Study,
    name: str,
    *,
    strengths: Mapping[str, float] | None = TRUE,
    pairs: int = 40,
    leans_left: float = 0.0,
    fails: int = 0,
) -> dict[str, Any]:
    """Answer ``pairs`` questions and 8 attention checks.

    Args:
        study: to answer.
        name: of the rater, who always chooses the same.
        strengths: method -> log odds; None clicks at random.
        pairs: questions.
        leans_left: log odds added to the left side.
        fails: checks answered wrongly.
    """
    chance = random.Random(f"{study.digest}{name}")
    real = [item for item in study.items if not item.right]
    checks = chance.sample([item for item in study.items if item.right], 8)
    answers = []
    for item in [*chance.sample(real, pairs), *checks]:
        left = chance.choice("ab")
        if item.right:
            chosen = item.right
            if fails:
                chosen, fails = "b" if item.right == "a" else "a", fails - 1
        else:
            odds = _odds(item, strengths) + (leans_left if left == "a" else -leans_left)
            chosen = "a" if chance.random() < 1 / (1 + math.exp(-odds)) else "b"
        answers.append({"item": item.name, "left": left, "chosen": chosen, "ms": chance.randint(600, 4000)})
    return {"schema": SCHEMA, "study": study.digest, "rater": name, "asked": len(answers), "answers": answers}


def _odds(item: Item, strengths: Mapping[str, float] | None) -> float:
    if strengths is None:
        return 0.0
    difference = strengths[item.a] - strengths[item.b]
    return difference if item.question == PERSON else -difference  # what keeps the person costs style


def save(folder: Path, exports: list[dict[str, Any]]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, values in enumerate(exports):
        paths.append(folder / f"answers-{number}.json")
        paths[-1].write_text(json.dumps(values))
    return paths
