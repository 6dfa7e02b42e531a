"""What a study found, as numbers and as words; where nothing was found, it says that."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from stages.comparing.table import About
from stages.study.exports import Answers, Rater
from stages.study.plan import QUESTIONS, Study
from stages.study.strengths import PRIOR, Agreement, Duel, Strength, agreement, duels, strengths

RATERS, PAIRS = 25, 40  # below, differences that are worth knowing are mostly missed
FORMAT = 1


@dataclass(frozen=True)
class Result:
    """One question on one dataset."""

    question: str
    dataset: str
    raters: int
    answers: int
    strengths: list[Strength]
    duels: list[Duel]
    agreement: Agreement


@dataclass(frozen=True)
class Outcome:
    """The whole study."""

    study: str
    raters: int
    inattentive: int
    repeated: list[str]
    left: tuple[int, int]  # choices of the left picture, of how many
    warnings: list[str]
    results: list[Result]
    significance: float


def outcome(study: Study, answers: Answers, about: About) -> Outcome:
    """Compute everything; a question or dataset without answers has no result."""
    confidence, resamples = float(about.settings["confidence"]), int(about.settings["resamples"])
    results = []
    for question in QUESTIONS:
        for dataset in about.datasets:
            own = [
                [a for a in rater.answers if (a.item.question, a.item.dataset) == (question, dataset)]
                for rater in answers.raters
            ]
            own = [chosen for chosen in own if chosen]
            asked = {i.a for i in study.items if (i.dataset, i.right) == (dataset, "")}
            asked |= {i.b for i in study.items if (i.dataset, i.right) == (dataset, "")}
            methods = [method for method in study.methods if method in asked]
            if not own:
                continue
            baseline = str(about.settings["baseline"])
            baseline = baseline if baseline in methods else methods[0]
            fit = strengths(own, methods, baseline, resamples, confidence)
            count = sum(map(len, own))
            results.append(Result(question, dataset, len(own), count, fit, duels(own, methods), agreement(own)))
    chosen = [a for rater in answers.raters for a in rater.answers]
    return Outcome(
        study.digest, len(answers.raters), len(answers.inattentive), list(answers.repeated),
        (sum(a.left == a.chosen for a in chosen), len(chosen)), _warnings(answers.raters), results, 1 - confidence,
    )  # fmt: skip


def _warnings(raters: Sequence[Rater]) -> list[str]:
    if not raters:
        return ["no rater is left to count: nothing is claimed"]
    found = []
    if len(raters) < RATERS:
        found.append(f"{len(raters)} raters, at least {RATERS} are advised: only large differences can show")
    typical = median(len(rater.answers) for rater in raters)
    if typical < PAIRS:
        found.append(f"{typical:g} answers per rater (median), at least {PAIRS} are advised")
    return found


def as_json(found: Outcome) -> dict[str, Any]:
    """Return plain values."""
    return {"format": FORMAT, "prior_wins": PRIOR, **asdict(found)}


def as_csv(found: Outcome) -> str:
    """Return one row per question, dataset and method."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = list(Strength.__dataclass_fields__)
    writer.writerow(["question", "dataset", "raters", *names])
    for result in found.results:
        for row in result.strengths:
            values = [getattr(row, name) for name in names]
            shown = [f"{value:.6g}" if isinstance(value, float) else value for value in values]
            writer.writerow([result.question, result.dataset, result.raters, *shown])
    return buffer.getvalue()


def as_markdown(found: Outcome) -> str:
    """Return the report that a person reads."""
    lines = ["# Blind choices between two pictures", "", f"Study `{found.study[:12]}`."]
    lines += [f"{found.raters} raters counted, {found.inattentive} left out for failing attention checks."]
    if found.repeated:
        lines += [f"Files of raters who were read already, left out: {', '.join(found.repeated)}."]
    if found.left[1]:
        lines += [f"The left picture was chosen {found.left[0]} times of {found.left[1]} (sides were random)."]
    lines += ["", *(f"**Note:** {warning}." for warning in found.warnings)]
    if not found.results:
        return "\n".join([*lines, "", "There are no answers to analyse, so nothing is claimed.", ""])
    lines += [
        "", "Strengths: Bradley-Terry by maximum likelihood, log odds around a mean of 0, with "
        f"{PRIOR:g} choices each way added between all methods (so that none is infinite); intervals of "
        f"{1 - found.significance:.0%} from resampled raters. Differences: sign tests over raters, Holm-corrected "
        "within a question and dataset.",
    ]  # fmt: skip
    for result in found.results:
        lines += ["", *_section(result, found.significance)]
    return "\n".join([*lines, ""])


def _section(result: Result, significance: float) -> list[str]:
    ranked = sorted(result.strengths, key=lambda row: -row.strength)
    lines = [
        f"## {QUESTIONS[result.question]} ({result.dataset})", "",
        f"{result.raters} raters, {result.answers} choices. {_agreed(result.agreement)}", "",
        "| method | strength | chosen over the baseline | choices |", "|---|---:|---:|---:|",
    ]  # fmt: skip
    for row in ranked:
        odds = f"{row.against_baseline:.0%} ({row.against_low:.0%} to {row.against_high:.0%})"
        strength = f"{row.strength:+.2f} ({row.low:+.2f} to {row.high:+.2f})"
        lines.append(f"| {row.method} | {strength} | {odds} | {row.won} of {row.asked} |")
    lines.append("")
    lines += [f"- {_words(duel, significance)}" for duel in result.duels]
    return lines


def _words(duel: Duel, significance: float) -> str:
    a, b, won = (duel.a, duel.b, duel.won) if 2 * duel.won >= duel.asked else (duel.b, duel.a, duel.asked - duel.won)
    for_a, for_b = duel.raters_for_a, duel.raters_for_b
    most = for_a if a == duel.a else for_b
    tail = f"({won} of {duel.asked} choices; {most} of {for_a + for_b} raters mostly; p = {duel.p_holm:.2g})"
    if not duel.asked:
        return f"{duel.a} and {duel.b} were not compared"
    if duel.p_holm < significance and 2 * most > for_a + for_b:
        return f"{a} is chosen over {b} {tail}"
    return f"no significant difference between {a} and {b} {tail}"


def _agreed(found: Agreement) -> str:
    if found.share is None:
        return "No question was answered by two raters, so their agreement is not known."
    alpha = "" if found.alpha is None else f"; Krippendorff's alpha {found.alpha:.2f}"
    return f"Two raters agreed on {found.share:.0%} of {found.pairs} shared answers{alpha}."
