"""What a finished run says to people, as Markdown: what happened, what holds now, and how it looks."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.champions.hearing import Verdict
from pipeline.jobs import Outcome, summary
from pipeline.journal import mask

_STATES = (("failed", "failed"), ("skipped", "skipped"), ("ran", "ran"), ("cached", "taken from the cache"))
_PICTURE = 1400  # px, the width at which faces of 128 px are still faces on a page
_QUALITY = 85
_MOST_NAMED = 12  # stages in a sentence
_COLUMNS = ("style", "method", "gates", "KID", "similarity", "with layers of the source", "KID", "similarity")
_WORDS = ("style", "method", "gates", "with layers of the source")  # columns that are read, not compared
_NOTE = (
    "KID x 10³ to the drawings: 0 is the drawings themselves; similarity: 1 is the same face, 0 no closer than another "
    "person's; first without a swap, then with the recommended layers of the source."
)
_NONE = "-"
_VERDICTS = {
    "first": "first champion", "promoted": "new champion", "kept": "champion kept", "unchanged": "champion unchanged",
    "incomparable": "for you to decide", "none": "no champion",
}  # fmt: skip


@dataclass(frozen=True)
class RunReport:
    """One run of the flow ``reproduce``."""

    profile: str
    rev: str  # commit that was reproduced
    commit: str | None  # that holds the result; None if nothing changed, or the run failed
    outcomes: list[Outcome]
    began: float  # s since 1970
    ended: float
    verdicts: list[Verdict]
    failed: str | None  # why, in one sentence


@dataclass(frozen=True)
class Link:
    """Something to look at."""

    title: str
    address: str
    about: str


def headline(report: RunReport) -> str:
    """One sentence without marks: how it ended, what ran, how long it took."""
    counts = summary(report.outcomes)
    did = ", ".join(f"{counts[state]} {words}" for state, words in _STATES if counts.get(state))
    stages = f"of {len(report.outcomes)} stages {did}" if did else "every stage was up to date"
    how = "failed" if report.failed else "finished"
    return f"{report.profile} {how} in {duration(report.ended - report.began)}: {stages}"


def bulletin(report: RunReport, comparison: Path, hero: Path, links: Sequence[Link]) -> str:
    """Return the whole message.

    Args:
        report: of the run.
        comparison: ``reports/<profile>/data``, which may be missing.
        hero: the picture, which may be missing.
        links: to more.
    """
    parts = [f"# {plain(headline(report))}", _commits(report), *_trouble(report), *_champions(report.verdicts)]
    shown = list(_comparison(comparison))
    if shown:
        parts += ["## The comparison" + (", as the last finished run left it" if report.failed else ""), *shown[:1]]
        if uri := picture(hero):
            parts.append(f"![The same faces, as the source and as every method draws them]({uri})")
        parts += shown[1:]
    if links:
        parts += ["## To look at", "\n".join(f"- [{plain(one.title)}]({one.address}): {one.about}" for one in links)]
    return "\n\n".join(parts) + "\n"


def faces(sheets: Path) -> str:
    """Return the contact sheets of a comparison, one per style, as Markdown; nothing without any."""
    stems = {path.stem for path in sheets.glob("*.png")}
    styles = {
        stem for stem in stems if not any(stem.startswith(f"{other}-") for other in stems)
    }  # the rest: a method's
    shown = [f"## {plain(style)}\n\n![{plain(style)}]({picture(sheets / f'{style}.png')})" for style in sorted(styles)]
    return "\n\n".join(shown)


def stages_table(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return a row per stage: what failed first, then what was skipped, ran, was cached."""
    order = [state for state, _ in _STATES]
    return [
        {
            "stage": one.stage, "state": one.state, "exit code": one.exit_code if one.state == "failed" else "",
            "seconds": round(one.seconds, 1), "where": one.where,
        }
        for one in sorted(outcomes, key=lambda one: (order.index(one.state), one.stage))
    ]  # fmt: skip


def duration(seconds: float) -> str:
    """Return a time in words: ``1 h 5 min``, ``3 min 20 s``, ``8 s``."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def plain(text: str) -> str:
    """Return a text in which nothing is Markdown or HTML, and no password is left."""
    return re.sub(r"([\\`*_{}\[\]|#~$])", r"\\\1", html.escape(mask(" ".join(text.split())), quote=False))


def picture(path: Path) -> str:
    """Return a picture as an address that holds the picture itself, or nothing if there is none.

    A page of Prefect's cannot open files, and MLflow may not be running when somebody looks; this always shows.
    """
    from PIL import Image

    if not path.is_file():
        return ""
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((_PICTURE, 8 * _PICTURE))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _commits(report: RunReport) -> str:
    of = f"Commit `{report.rev[:12]}`"
    if report.commit:
        return f"{of} was reproduced; its results are in commit `{report.commit[:12]}`."
    return f"{of} was not reproduced; nothing was committed." if report.failed else f"{of} holds these results already."


def _trouble(report: RunReport) -> Iterator[str]:
    if report.failed is None:
        return
    yield f"**{plain(report.failed)}**"
    for state, words in _STATES[:2]:
        names = [one.stage for one in report.outcomes if one.state == state]
        if names:
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            yield f"{words.capitalize()}: {', '.join(f'`{name}`' for name in names[:_MOST_NAMED])}{more}."


def _champions(verdicts: Sequence[Verdict]) -> Iterator[str]:
    if verdicts:
        yield "## Champions"
        yield "\n".join(_champion(one) for one in verdicts)


def _champion(verdict: Verdict) -> str:
    return f"- **{plain(verdict.dataset)}: {_VERDICTS[verdict.state]}**{_which(verdict)}. {plain(verdict.why)}."


def _which(verdict: Verdict) -> str:
    now = f", version {verdict.champion}" if verdict.champion is not None else ""
    if verdict.version is None or verdict.version == verdict.champion:
        return now + (f" ({plain(verdict.title)})" if verdict.title else "")
    return f"{now}; the candidate is version {verdict.version} ({plain(verdict.title)})"


def _comparison(folder: Path) -> Iterator[str]:
    """Yield the sentences of a comparison, then its table; nothing without one."""
    if (folder / "table.md").is_file():
        text = (folder / "table.md").read_text(encoding="utf-8")
        said = [line for line in text.split("\n### ")[0].splitlines() if line.startswith("**")]
        yield "\n\n".join(said)
    if (folder / "metrics.json").is_file():
        methods = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        yield "\n".join(_table([_row(style, name, one) for style, of in methods.items() for name, one in of.items()]))
        yield _NOTE


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(_COLUMNS)} |"
    yield f"| {' | '.join('---' if name in _WORDS else '--:' for name in _COLUMNS)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _row(style: str, method: str, measured: Mapping[str, Any]) -> list[str]:
    gates = measured.get("gates") or {}
    worst = [f"{plain(name)}: {plain(str(verdict))}" for name, verdict in gates.items() if verdict != "pass"]
    start, swapped = measured.get("no_swap") or {}, measured.get("recommended") or {}
    return [
        plain(style), plain(method.replace("_", " ")), ", ".join(worst) or ("pass" if gates else _NONE),
        _number(start.get("kid"), 1), _number(start.get("similarity"), 2), plain(str(swapped.get("where") or _NONE)),
        _number(swapped.get("kid"), 1), _number(swapped.get("similarity"), 2),
    ]  # fmt: skip


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else _NONE
