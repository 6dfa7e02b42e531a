"""What is said about a difference, and about a dataset, in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from model.metrics.significance import Difference
from stages.comparing.words import chance, number, readable, signed

_WHERE = {
    "no swap": "without a swap",
    "recommended": "each at its recommended swap level",
    "comparable style": "at its recommended swap level, where the {baseline} is given the same KID",
}
_COUNT = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# (what is said of a method with the larger number, and of one with the smaller), the number's name, digits
_VERBS = {
    "similarity": ("keeps the face better than", "keeps the face worse than"),
    "own similarity": ("keeps the face better than", "keeps the face worse than"),
    "KID": ("is drawn less in the style than", "is drawn more in the style than"),
    "FID": ("is drawn less in the style than", "is drawn more in the style than"),
}
_NAMES = {
    "similarity": ("similarity", 2), "own similarity": ("similarity with its own mapping network", 2),
    "KID": ("KID x 10³", 1), "FID": ("FID", 1),
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a sentence about a difference needs."""

    method: str
    baseline: str
    at: str
    measure: str  # similarity, own similarity, KID or FID
    result: Difference
    p: float  # corrected
    significant: bool
    seeds: int  # trainings of each side
    family: int  # methods that p was corrected for


def sentence(said: Said) -> str:
    """Return one plain sentence: who, what, how much, how sure, over what."""
    name, digits = _NAMES[said.measure]
    value, low, high = said.result.value, said.result.low, said.result.high
    method, baseline = readable(said.method), readable(said.baseline)
    where = _WHERE[said.at].format(baseline=baseline)
    amount = f"{name} {signed(value, digits)} ({number(low, digits)} to {number(high, digits)})"
    corrected = f"{chance(said.p)}{f' corrected for {said.family} methods' if said.family > 1 else ''}"
    if said.significant:
        claim = f"{method} {_VERBS[said.measure][0 if value > 0 else 1]} the {baseline} {where}"
    else:
        claim = f"no significant difference between {method} and the {baseline} {where}"
    return f"{claim}: {amount}, {corrected}, over {_over(said)}"


def _over(said: Said) -> str:
    each = "one training" if said.seeds == 1 else f"{count(said.seeds)} trainings"
    if said.result.unit == "seeds":
        return f"{each} of each"
    what = f"{said.result.n} faces" if said.result.unit == "pairs" else f"{said.result.n} blocks of generated images"
    return f"{what} of {each} of each; the luck of training is not included"


def count(number: int) -> str:
    """Return a small number as a word."""
    return _COUNT[number] if number < len(_COUNT) else str(number)
