"""Views of a comparison that open as they should: what MLflow's own "save view" would store.

A view is a tag of the experiment, and is listed under its name in the menu "Views" above the runs. Runs are sorted by
something else than their date, because by date MLflow folds cells away under their parent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

TAG = "mlflow.sharedViewState."
_MOST = 5000  # characters of a tag
_HEIGHT = 420  # px of a chart
_PICTURES = 640  # px of a grid of pictures, which has the whole width


def stored_name(key: str) -> str:
    """MLflow's names hold letters, digits and ``_-. :/``: ``fid[style]`` becomes ``fid.style``."""
    return re.sub(r"[^\w\-. :/]", "_", key.replace("[", ".").replace("]", ""), flags=re.ASCII)[:250]


def view_id(name: str) -> str:
    """Return the part of the address that opens a view: ``Faces by swap level`` -> ``faces-by-swap-level``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def view(entry: Mapping[str, Any]) -> str:
    """Return the tag's value for a view as ``Run.log_view`` records it; charts that do not fit are left out."""
    charts = list(entry["charts"])
    while len(text := _envelope(entry, charts)) > _MOST and charts:
        charts.pop()
    return text


def _envelope(entry: Mapping[str, Any], charts: Sequence[Mapping[str, Any]]) -> str:
    name = str(entry["name"])
    cards, sections = [], []
    for wide in dict.fromkeys(chart["kind"] == "images" for chart in charts):  # in the order they were asked for
        part = [chart for chart in charts if (chart["kind"] == "images") == wide]
        section = f"{view_id(name)}-{int(wide)}"
        cards += [_card(chart, f"{section}-{number}", section) for number, chart in enumerate(part)]
        shape = {"columns": 1, "cardHeight": _PICTURES} if wide else {"columns": 2, "cardHeight": _HEIGHT}
        title = "Pictures" if wide else "Charts"
        sections.append({"uuid": section, "name": title, "display": True, "isReordered": True, **shape})
    state = {
        "searchFilter": entry["where"], "orderByKey": _column(entry["sort"]), "orderByAsc": True, "startTime": "ALL",
        "lifecycleFilter": "Active", "selectedColumns": [_column(column) for column in entry["columns"]],
        "compareRunCharts": cards, "compareRunSections": sections, "isAccordionReordered": True,
        "runsHiddenMode": "SHOW_ALL", "hideEmptyCharts": True,
        "runListHidden": any(chart["kind"] == "images" for chart in charts),  # pictures need the room
    }  # fmt: skip
    stamp = {"createdAt": entry["time"], "updatedAt": entry["time"]}
    return json.dumps({"name": name, **stamp, "state": json.dumps(state, separators=(",", ":"))})


def _card(chart: Mapping[str, Any], uuid: str, section: str) -> dict[str, Any]:
    keys = [stored_name(key) for key in chart["keys"]]
    card = {"uuid": uuid, "metricSectionId": section, "deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    match chart["kind"]:
        case "scatter":
            across, up = ({"key": key, "type": "METRIC"} for key in keys)
            return card | {"type": "SCATTER", "xaxis": across, "yaxis": up}
        case "parallel":
            return card | {"type": "PARALLEL", "selectedParams": [], "selectedMetrics": keys, "showAllRuns": True}
        case "curves":
            return card | {"type": "LINE", "metricKey": keys[0], "selectedMetricKeys": keys}
        case "images":
            return card | {"type": "IMAGE", "imageKeys": keys, "step": chart.get("step", 0)}
        case kind:
            raise ValueError(f"chart {kind!r}: expected scatter, parallel, curves or images")


def _column(name: str) -> str:
    """``tags.method`` or ``metrics.kid[style]`` as MLflow's tables call it."""
    kind, _, key = name.partition(".")
    return f"{kind}.`{stored_name(key)}`"
