"""Progress: a bar for people, lines for logs, the same items either way."""

from __future__ import annotations

import logging
import sys

import pytest

from model import progress
from model.progress import Progress, track


def test_items_pass_through_unchanged() -> None:
    assert list(track([1, 2, 3], "count")) == [1, 2, 3]
    assert list(track(iter("ab"), "count")) == ["a", "b"]


def test_a_log_gets_lines_with_count_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO), Progress("train", 4, "kimg") as running:
        for _ in range(4):
            running.update(1, "d_loss 0.7")
    lines = [record.getMessage() for record in caplog.records]
    assert lines
    assert lines[0].startswith("train: 2 of 4 kimg, ")
    assert "kimg/min" in lines[0] or "kimg/s" in lines[0]
    assert lines[0].endswith(" left, d_loss 0.7")
    assert lines[-1].startswith("train: finished, 4 of 4 kimg")


def test_short_work_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        list(track(range(5), "quick"))
    assert caplog.records == []


def test_the_rate_counts_this_start_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("train", 100, "kimg") as running:
        running.resume_at(90)
        now[0] = 5.0
        running.update(5)
        assert running.status() == "95 of 100 kimg, 1 kimg/s, 0:05 left"


def test_a_terminal_gets_one_bar_even_when_nested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert [x + y for x in track([10, 20], "outer") for y in track([1, 2], "inner")] == [11, 12, 21, 22]
    assert not Progress._bar_in_use


def test_an_error_frees_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(RuntimeError), Progress("work", 2):
        raise RuntimeError
    assert not Progress._bar_in_use
