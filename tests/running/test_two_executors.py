"""Two working copies that want the same stage: only one runs it, and a result of the other is never taken."""

from __future__ import annotations

import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from pipeline.running.guard import read_ledger
from tests.running.toys import Toy, alive, processes_in, until

pytestmark = pytest.mark.slow

TTL = "1.5"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Toy, Toy]:
    """Two clones with one cache; the stage ``long`` says who made its result and how often it began."""
    first = Toy.make(tmp_path / "one", cache=tmp_path / "cache")
    begin = "echo $WHO >> $COUNTS; echo $$ > $WHO.pid; "
    wait = "n=0; while [ -e ../wait-$WHO ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; "
    stages = {
        "long": {"cmd": begin + wait + "echo $WHO > long.txt", "deps": ["in"], "outs": ["long.txt"]},
        "after": {"cmd": "cat long.txt > after.txt", "deps": ["long.txt"], "outs": ["after.txt"]},
    }
    (first.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False, width=10_000))
    (first.root / ".gitignore").write_text("*.txt\n*.jsonl\n*.pid\n")
    first.commit()
    return first, first.clone(tmp_path / "two")


def results(toy: Toy) -> list[str]:
    """What the run-cache has for ``long``, by content."""
    cache, found = toy.root.parent / "cache", []
    for entry in (cache / "runs").rglob("*"):
        if entry.is_file() and "WHO" in entry.read_text():
            (out,) = yaml.safe_load(entry.read_text())["outs"]
            found.append((cache / "files" / "md5" / out["md5"][:2] / out["md5"][2:]).read_text().strip())
    return found


def outcomes(toy: Toy) -> dict[str, tuple[str, int]]:
    told = json.loads((toy.root / "outcomes.jsonl").read_text())
    return {name: (told[name]["state"], told[name]["exit_code"]) for name in told}


def options(toy: Toy) -> list[str]:
    return [f"leases={toy.root.parent / 'leases'}", f"ttl={TTL}", "pool=cpu"]


def test_of_two_that_want_a_stage_one_runs_it_and_the_other_gets_its_result(pair: tuple[Toy, Toy]) -> None:
    one, two = pair
    (one.root.parent / "wait-one").touch()
    first = one.start("long", "after", more=options(one), WHO="one")
    until((one.root / "one.pid").exists)
    second = two.start("long", "after", more=options(two), WHO="two")
    until(lambda: "being worked on by" in output(two))
    (one.root.parent / "wait-one").unlink()
    assert [first.wait(60), second.wait(60)] == [0, 0]
    assert one.executed() == ["one"]
    assert (two.root / "after.txt").read_text() == "one\n"
    assert outcomes(one)["long"] == ("ran", 0)
    assert outcomes(two)["long"] == ("cached", 0)
    assert results(one) == ["one"]


def output(toy: Toy) -> str:
    path = toy.root / "output.jsonl"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("machine", ["this one", "another"])
def test_an_executor_that_was_paused_too_long_never_has_its_result_taken(pair: tuple[Toy, Toy], machine: str) -> None:
    one, two = pair
    (one.root.parent / "wait-one").touch()
    names = {} if machine == "this one" else {"CARTOON_MACHINE": "first"}
    first = one.start("long", "after", more=options(one), WHO="one", **names)
    until((one.root / "one.pid").exists)
    until((one.root / "one.pid").read_text)
    stage = int((one.root / "one.pid").read_text())
    paused = [first.pid, *processes_in(one.root)]
    for pid in paused:
        with suppress(ProcessLookupError):  # some of them live for a moment only
            os.kill(pid, signal.SIGSTOP)
    second = two.start("long", "after", more=options(two), WHO="two")
    assert second.wait(60) == 0
    assert outcomes(two)["long"] == ("ran", 0)
    assert alive(stage) == (machine == "another")
    (one.root.parent / "wait-one").unlink()  # had nothing been done, it would end well now
    for pid in paused:
        if alive(pid):
            os.kill(pid, signal.SIGCONT)
    assert first.wait(60) == 0
    (entry,) = read_ledger(one.root / "ledger.jsonl")
    assert (entry.state, entry.code) == (("failed", 75) if machine == "this one" else ("lost", 9))
    assert results(one) == ["two"]
    if machine == "another":  # it waits, and takes what the other made
        assert outcomes(one) == {"long": ("cached", 0), "after": ("cached", 0)}
        assert one.lock() == two.lock()
    else:
        assert outcomes(one) == {"long": ("failed", 75), "after": ("skipped", 0)}
        assert one.lock() == ""
    assert processes_in(one.root) == {}


@pytest.mark.parametrize("patient", [True, False])
def test_nobody_begins_a_stage_while_its_result_is_being_stored(pair: tuple[Toy, Toy], patient: bool) -> None:
    """DVC is stopped before the stage ends, so it stores the result late, or never if that takes too long."""
    one, two = pair
    (one.root.parent / "wait-one").touch()
    shared = [word for word in options(one) if not (patient and word.startswith("ttl"))]
    first = one.start("long", more=shared, WHO="one")
    until((one.root / "one.pid").exists)
    (dvc,) = [pid for pid, words in processes_in(one.root).items() if re.match(r"\S+ -m dvc ", words)]
    os.kill(dvc, signal.SIGSTOP)
    (one.root.parent / "wait-one").unlink()
    until(lambda: [entry.state for entry in read_ledger(one.root / "ledger.jsonl")] == ["ran"])
    second = two.start("long", more=shared, WHO="two")
    if patient:
        until(lambda: "being worked on by" in output(two))
        os.kill(dvc, signal.SIGCONT)
    assert [first.wait(60), second.wait(60)] == [0, 0]
    assert one.executed() == (["one"] if patient else ["one", "two"])
    assert results(one) == (["one"] if patient else ["two"])
    assert outcomes(one)["long"] == (("ran", 0) if patient else ("failed", 75))


def test_a_stage_that_outlived_everybody_keeps_its_lease_while_it_runs(pair: tuple[Toy, Toy]) -> None:
    one, two = pair
    (one.root.parent / "wait-one").touch()
    first = one.start("long", more=options(one), WHO="one")
    until((one.root / "one.pid").exists)
    until((one.root / "one.pid").read_text)
    shared = [word for word in options(one) if not word.startswith("ttl")]
    for pid, words in processes_in(one.root).items():
        if re.search(r"tests\.running|pipeline\.running|-m dvc", words):
            os.kill(pid, signal.SIGKILL)
    first.wait(60)
    second = two.start("long", more=shared, WHO="two")
    until(lambda: "being worked on by" in output(two))
    assert one.executed() == ["one"]
    (one.root.parent / "wait-one").unlink()
    assert second.wait(60) == 0
    assert one.executed() == ["one", "two"]
    assert results(one) == ["two"]
