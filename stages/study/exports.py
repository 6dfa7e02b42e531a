"""Answers that raters hand in: read as the hostile files they may be, checked against the study, counted once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import CorruptInputError, MissingInputError
from stages.study.plan import Item, Study

SCHEMA = "cartoon-study-1"
_MOST_BYTES = 2_000_000
_TOLERATED = 8  # one failed attention check per so many is a slip
_FEWEST_CHECKS = 4
_RATER = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Answer:
    """One choice."""

    item: Item
    chosen: str  # "a" or "b"
    left: str  # which of the two was shown on the left
    ms: int  # from seeing to choosing


@dataclass(frozen=True)
class Rater:
    """One person's answers."""

    name: str
    answers: tuple[Answer, ...]  # to real questions
    checks: int  # attention checks answered
    failed: int

    @property
    def attentive(self) -> bool:
        """Whether enough attention checks were answered, and about all of them rightly."""
        return self.checks >= _FEWEST_CHECKS and self.failed <= self.checks // _TOLERATED


@dataclass(frozen=True)
class Answers:
    """Everybody's."""

    raters: tuple[Rater, ...]  # attentive ones
    inattentive: tuple[Rater, ...]
    repeated: tuple[str, ...]  # files of raters whose answers were already read


def read_answers(files: Sequence[Path], study: Study) -> Answers:
    """Read exports of the page.

    Of two files of one rater, the one with more answers counts (a file saved half-way is no second person).

    Raises: MissingInputError for a file that is not there; CorruptInputError for one that is no export of this study.
    """
    items = {item.name: item for item in study.items}
    found: dict[str, tuple[Path, Rater]] = {}
    repeated: list[str] = []
    for path in files:
        rater = _read(path, study, items)
        if rater.name in found:
            have, known = found[rater.name]
            more = len(rater.answers) + rater.checks > len(known.answers) + known.checks
            repeated.append((have if more else path).name)
            if not more:
                continue
        found[rater.name] = (path, rater)
    raters = [rater for _, rater in found.values()]
    attentive = tuple(rater for rater in raters if rater.attentive)
    return Answers(attentive, tuple(rater for rater in raters if not rater.attentive), tuple(repeated))


def _read(path: Path, study: Study, items: dict[str, Item]) -> Rater:
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; give the files that raters saved at the end of the page")
    if path.stat().st_size > _MOST_BYTES:
        raise CorruptInputError(f"{path}: {path.stat().st_size} bytes, more than answers can be ({_MOST_BYTES})")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        message = f"{path}: not a whole JSON file ({error}); ask the rater to save it again, or leave it out"
        raise CorruptInputError(message) from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        found = value.get("schema") if isinstance(value, dict) else type(value).__name__
        raise CorruptInputError(f"{path}: schema is {found!r}, expected {SCHEMA!r}: not answers of the study's page")
    if value.get("study") != study.digest:
        raise CorruptInputError(
            f"{path}: answers to study {str(value.get('study'))[:12]}, expected {study.digest[:12]}; --data is not the "
            "comparison that the page was made from, or has been computed again since: give the old one"
        )
    rater, answers = value.get("rater"), value.get("answers")
    if not isinstance(rater, str) or not _RATER.fullmatch(rater):
        raise CorruptInputError(f"{path}: rater is {str(rater)[:40]!r}, expected letters, digits, - and _")
    if not isinstance(answers, list):
        raise CorruptInputError(f"{path}: answers is {type(answers).__name__}, expected a list")
    return _rater(rater, [_answer(path, number, entry, items) for number, entry in enumerate(answers)])


def _rater(name: str, answers: Sequence[Answer]) -> Rater:
    once = {answer.item.name: answer for answer in reversed(answers)}  # the first answer to a question counts
    checks = [answer for answer in once.values() if answer.item.right]
    real = tuple(answer for answer in answers if not answer.item.right and once[answer.item.name] is answer)
    return Rater(name, real, len(checks), sum(answer.chosen != answer.item.right for answer in checks))


def _answer(path: Path, number: int, entry: Any, items: dict[str, Item]) -> Answer:
    where = f"{path}: answers[{number}]"
    if not isinstance(entry, dict):
        raise CorruptInputError(f"{where}: {type(entry).__name__}, expected an object")
    name, chosen, left, ms = (entry.get(key) for key in ("item", "chosen", "left", "ms"))
    if not isinstance(name, str) or name not in items:
        raise CorruptInputError(f"{where}: item is {str(name)[:40]!r}, which this study does not have")
    if chosen not in ("a", "b") or left not in ("a", "b"):
        raise CorruptInputError(f"{where}: chosen {str(chosen)[:40]!r} of left {str(left)[:40]!r}, expected a or b")
    if isinstance(ms, bool) or not isinstance(ms, int) or ms < 0:
        raise CorruptInputError(f"{where}: ms is {str(ms)[:40]!r}, expected a whole number from 0 up")
    return Answer(items[name], chosen, left, ms)
