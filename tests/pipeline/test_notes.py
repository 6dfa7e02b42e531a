"""What a finished run tells people: the message itself, and what Prefect holds of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.bulletin import Link, RunReport, bulletin, duration, faces, headline, plain, stages_table
from pipeline.champions.hearing import Verdict
from pipeline.jobs import Outcome
from pipeline.operating.settings import Servers

pytestmark = pytest.mark.slow

RAN = [Outcome("train@freeze_g-flat-s0", "ran", seconds=61.0, where="host/gpu-0"), Outcome("plan@freeze_g", "cached")]
LOST = [Outcome("evaluate@freeze_g-flat-s0", "failed", exit_code=5), Outcome("compare", "skipped")]


def report(outcomes: list[Outcome], **changed: Any) -> RunReport:
    usual: dict[str, Any] = {
        "profile": "demo", "rev": "a" * 40, "commit": "b" * 40, "outcomes": outcomes, "began": 100.0, "ended": 175.0,
        "verdicts": [], "failed": None,
    }  # fmt: skip
    return RunReport(**(usual | changed))


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """reports/demo of a project, as the stages compare and page leave it."""
    folder = tmp_path / "reports" / "demo"
    (folder / "data").mkdir(parents=True)
    (folder / "sheets").mkdir()
    measured = {"gates": {"memorisation": "alarm", "collapse": "pass"}, "no_swap": {"kid": 47.36, "similarity": 0.502},
                "recommended": {"where": "weights up to 16 px", "kid": 140.02, "similarity": None}}  # fmt: skip
    (folder / "data" / "metrics.json").write_text(json.dumps({"flat": {"freeze_g": measured, "baseline": {}}}))
    text = "### In short\n\n**flat.** It works.\n\n| a |\n\nNotes.\n\n### flat\n\n| b |\n"
    (folder / "data" / "table.md").write_text(text)
    for name in ("hero.png", "sheets/flat.png", "sheets/flat-freeze_g.png"):
        Image.new("RGB", (2000, 400), (200, 30, 30)).save(folder / name)
    return folder


def told(reports: Path, what: RunReport, *links: Link) -> str:
    return bulletin(what, reports / "data", reports / "hero.png", links)


def test_the_message_says_what_ran_which_commit_holds_it_and_what_the_comparison_shows(reports: Path) -> None:
    text = told(reports, report(RAN), Link("Report", "http://127.0.0.1:5000/#/x", "one page"))
    assert text.startswith("# demo finished in 1 min 15 s: of 2 stages 1 ran, 1 taken from the cache\n")
    assert "Commit `aaaaaaaaaaaa` was reproduced; its results are in commit `bbbbbbbbbbbb`." in text
    assert "**flat.** It works." in text
    assert "Notes." not in text
    assert "| flat | freeze g | memorisation: alarm | 47.4 | 0.50 | weights up to 16 px | 140.0 | - |" in text
    assert "| flat | baseline | - | - | - | - | - | - |" in text
    assert "- [Report](http://127.0.0.1:5000/#/x): one page" in text


def test_the_picture_is_in_the_message_itself_and_small_enough_to_store(reports: Path) -> None:
    text = told(reports, report(RAN))
    assert text.count("](data:image/jpeg;base64,") == 1
    assert len(text) < 100_000
    assert faces(reports / "sheets").count("](data:image/jpeg;base64,") == 1  # one per style, none per method


def test_a_failed_run_names_what_failed_and_what_was_skipped_before_the_last_comparison(reports: Path) -> None:
    text = told(reports, report([*RAN, *LOST], commit=None, failed="disk full at /data; password=geheim <b>"))
    assert text.startswith(
        "# demo failed in 1 min 15 s: of 4 stages 1 failed, 1 skipped, 1 ran, 1 taken from the cache"
    )
    assert "Failed: `evaluate@freeze_g-flat-s0`." in text
    assert "Skipped: `compare`." in text
    assert "The comparison, as the last finished run left it" in text
    assert "geheim" not in text
    assert "<b>" not in text


def test_verdicts_on_champions_are_told_with_their_reasons(reports: Path) -> None:
    verdict = Verdict("flat", "cartoon-demo-flat", "kept", "Worth 0.1 against 0.2", 3, 2, "freeze_g, seed s0, no swap")
    text = told(reports, report(RAN, verdicts=[verdict]))
    assert "- **flat: champion kept**, version 2; the candidate is version 3 (freeze\\_g, seed" in text


def test_without_a_comparison_the_message_is_still_one(tmp_path: Path) -> None:
    text = bulletin(report([]), tmp_path / "data", tmp_path / "hero.png", [])
    assert text.startswith("# demo finished in 1 min 15 s: every stage was up to date")
    assert "comparison" not in text
    assert faces(tmp_path) == ""


def test_the_table_of_stages_begins_with_what_went_wrong() -> None:
    rows = stages_table([*RAN, *LOST])
    assert [row["state"] for row in rows] == ["failed", "skipped", "ran", "cached"]
    assert (rows[0]["exit code"], rows[2]["exit code"], rows[2]["where"]) == (5, "", "host/gpu-0")


@pytest.mark.parametrize(("seconds", "words"), [(-1, "0 s"), (8.4, "8 s"), (200, "3 min 20 s"), (3900, "1 h 5 min")])
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_no_name_becomes_markup() -> None:
    assert plain("a_b|c <img src=x> `x` [y](z) $1") == "a\\_b\\|c &lt;img src=x&gt; \\`x\\` \\[y\\](z) \\$1"


@pytest.mark.slow
def test_prefect_holds_the_notes_of_every_run_under_the_same_keys(
    reports: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A dead MLflow server costs the links, and nothing else."""
    from prefect import flow
    from prefect.client.orchestration import get_client

    from pipeline.flows.notes import publish

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    @flow(name="told")
    def tell(what: RunReport) -> None:
        publish(reports.parents[1], "demo_2", RunReport(**(vars(what) | {"profile": "demo_2"})))

    (reports.parent / "demo_2").symlink_to(reports)
    tell(report(RAN))
    tell(report(LOST, commit=None, failed="because"))
    with get_client(sync_client=True) as client:
        found = [one for one in client.read_artifacts() if one.key and one.key.endswith("-demo-2")]
    assert sorted(str(one.key) for one in found) == sorted(2 * ["comparison-demo-2", "faces-demo-2", "stages-demo-2"])
    assert {one.description for one in found if one.key == "comparison-demo-2"} == {
        headline(report(RAN, profile="demo_2")), headline(report(LOST, profile="demo_2", failed="because")),
    }  # fmt: skip
    (rows,) = [one.data for one in found if one.key == "stages-demo-2" and "failed" in str(one.data)]
    assert [row["state"] for row in json.loads(str(rows))] == ["failed", "skipped"]
    assert all(one.flow_run_id for one in found)
    assert "no links to MLflow about this run: ConnectError" in caplog.text


def test_what_prefect_refuses_costs_that_note_alone(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.flows import notes

    made: list[str] = []

    def refuse(*content: Any) -> None:
        raise ConnectionError("no")

    monkeypatch.setattr(notes, "create_markdown_artifact", refuse)
    monkeypatch.setattr(notes, "create_table_artifact", lambda table, key, about: made.append(key))
    monkeypatch.setattr(notes, "find_servers", lambda root: Servers(prefect=None, mlflow=None))
    notes.publish(reports.parents[1], "demo", report(RAN))
    assert made == ["stages-demo"]
