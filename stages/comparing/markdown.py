"""The comparison as Markdown: means over seeds, one table per dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from model.metrics.names import parse
from stages.comparing.likeness import SIMILARITY, SIMILARITY_OWN
from stages.comparing.points import Point
from stages.comparing.view import View
from stages.comparing.words import NONE, TIMES, number, readable, swap_words

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Column:
    """How the metrics of a family are shown."""

    label: str
    better: Better  # without a better side: not ranked
    digits: int


SHOWN = {
    "kid_x1e3": Column(f"KID{{n}} {TIMES}10³", "lower", 2),
    "fid": Column("FID{n}", "lower", 1),
    "kid_heldout_x1e3": Column(f"held-out KID{{n}} {TIMES}10³", "lower", 2),
    "fid_heldout": Column("held-out FID{n}", "lower", 1),
    "precision": Column("precision{n}", "higher", 3),
    "recall": Column("recall{n}", "higher", 3),
    "density": Column("density{n}", "higher", 3),
    "coverage": Column("coverage{n}", "higher", 3),
    SIMILARITY: Column("similarity", "higher", 3),
    SIMILARITY_OWN: Column("similarity, own mapping", "higher", 3),
    "landmark_nme": Column("landmark NME", "lower", 3),
    "attribute_mse": Column("attribute MSE", "lower", 3),
    "edge_ssim": Column("edge SSIM", "higher", 3),
    "cos": Column("cosine", "higher", 3),
    "selfsim": Column("self-similarity distance", "lower", 4),
    "lpips": Column("LPIPS", "lower", 3),
    "arcface_cos": Column("ArcFace cosine", "higher", 3),
    "face_detect_rate": Column("faces found", "", 2),
    "retrieval_top1": Column("retrieval top-1", "higher", 3),
    "lowres_rgb_mse_8": Column("8 px MSE", "lower", 4),
    "variety": Column("variety", "", 2),
    "intra_lpips": Column("intra-LPIPS", "higher", 3),
    "intra_distance": Column("distance within clusters", "higher", 3),
    "nn_ratio": Column("NN{n} ratio", "", 2),
    "copy_rate": Column("copies{n}", "", 3),
    "ppl": Column("PPL", "lower", 1),
}
ANCHORS = {"source": "source, untuned", "shuffled": "shuffled pairs", "real_split": "drawn vs drawn"}
_ORDER = list(SHOWN)


def as_markdown(views: Sequence[View], optimised: Mapping[str, Sequence[str]], missing: Sequence[str]) -> str:
    """Return one table per dataset, best values of ranked points in bold, recommended levels with an arrow.

    Args:
        views: one per dataset.
        optimised: method -> families of measures that it is trained on: its numbers there are never the best.
        missing: what was not run, in words.
    """
    lines = ["Means ± standard deviations over seeds; what a gate fails, or a method is trained on, ranks nobody.", ""]
    for view in views:
        keys = shown_keys(view.points)
        lines += [f"### {escape(view.dataset)}", "", *_heads(view, keys), *_anchors(view, keys)]
        best = {key: _best(view.points, key, optimised) for key in keys}
        lines += [_row(view, point, keys, best) for point in view.points]
        lines.append("")
    lines += [f"- {escape(entry)}" for entry in missing]
    return "\n".join(lines).rstrip("\n") + "\n"


def shown_keys(points: Sequence[Point]) -> list[str]:
    """Return the metrics of the table that some point has, in the order of the table."""
    keys = dict.fromkeys(key for point in points for key in point.mean if parse(key).family in SHOWN)
    return sorted(keys, key=lambda key: _ORDER.index(parse(key).family))


def head(key: str) -> str:
    """Return the label of a metric with its number of images and its extractor."""
    name = parse(key)
    label = SHOWN[name.family].label.format(n=name.n)
    return f"{label} `{name.extractor}`" if name.extractor else label


def _heads(view: View, keys: Sequence[str]) -> list[str]:
    which = ["snapshot"] if _swept(view) else []
    heads = ["method", *which, "swap", "seeds", "gates", *(head(key) for key in keys)]
    return [line(heads), line(["---"] * (2 + len(which)) + ["--:", "---"] + ["--:"] * len(keys))]


def _swept(view: View) -> bool:
    return any(point.snapshot for point in view.points)


def _anchors(view: View, keys: Sequence[str]) -> list[str]:
    """Return the anchors of a dataset: what the numbers lie between."""
    lines = []
    for name, label in ANCHORS.items():
        if values := view.anchors.get(name):
            numbers = [number(values.get(key), SHOWN[parse(key).family].digits) for key in keys]
            lines.append(line([f"*{label}*", *([""] * (3 + _swept(view))), *numbers]))
    return lines


def _best(points: Sequence[Point], key: str, optimised: Mapping[str, Sequence[str]]) -> float | None:
    family = parse(key).family
    better = SHOWN[family].better
    values = [p.mean[key] for p in points if p.ranked and key in p.mean and family not in optimised.get(p.method, ())]
    rounded = {round(value, SHOWN[family].digits) for value in values}
    if len(rounded) < 2 or not better:
        return None
    return min(rounded) if better == "lower" else max(rounded)


def _row(view: View, point: Point, keys: Sequence[str], best: Mapping[str, float | None]) -> str:
    numbers = []
    for key in keys:
        digits = SHOWN[parse(key).family].digits
        text = number(point.mean.get(key), digits)
        if point.ranked and key in point.mean and round(point.mean[key], digits) == best[key]:
            text = f"**{text}**"
        numbers.append(f"{text} ± {number(point.sd[key], digits)}" if key in point.sd else text)
    which = [escape(snapshot(point))] if _swept(view) else []
    swap = escape(swap_words(point.swap, point.level)) + (" ←" if view.chosen[point.method] is point else "")
    return line([escape(point.method), *which, swap, str(point.seeds), gates(point.gates), *numbers])


def snapshot(point: Point) -> str:
    """Return which snapshot a point is, in words, with the kimg where the name does not say it."""
    name, found = readable(point.snapshot), sorted({f"{kimg:.3g}" for kimg in point.kimg}, key=float)
    return name if not name or name.endswith("kimg") else f"{name} ({', '.join(found)} kimg)"


def gates(verdicts: Mapping[str, str]) -> str:
    """Return the verdicts that are not a pass, in words; "pass" if all are."""
    bad = [f"{name.removeprefix('gate_')}: {verdict}" for name, verdict in verdicts.items() if verdict != "pass"]
    return ("**" + ", ".join(bad) + "**") if bad else ("pass" if verdicts else NONE)


def line(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def escape(text: str) -> str:
    """Escape what Markdown or HTML in a name would do to a rendered table."""
    for char in "\\`*_|<>[]#":
        text = text.replace(char, f"\\{char}" if char not in "<>" else {"<": "&lt;", ">": "&gt;"}[char])
    return text.replace("\n", " ")
