"""One job on one machine: what its outcomes say, and that nothing of it survives a kill."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.jobs import Outcome
from pipeline.running.guard import read_ledger
from tests.running.toys import Toy, alive, processes_in, until

pytestmark = pytest.mark.slow

STAYS = "in: echo $$ > {pid}; trap 'echo saved > saved.txt; exit 75' TERM; while :; do sleep 0.05; done"


def summary(outcomes: dict[str, Outcome]) -> dict[str, tuple[str, int]]:
    return {name: (outcome.state, outcome.exit_code) for name, outcome in outcomes.items()}


@pytest.mark.parametrize("pool", ["", "cpu"])
def test_every_stage_of_a_job_has_an_outcome_and_the_next_run_does_only_what_is_missing(toy: Toy, pool: str) -> None:
    toy.stages(a="in:", b="a: [ -e go ] || exit 7", c="b:", d="a:", e="d:")
    outcomes = toy.run(rules=toy.rules(pool=pool))
    assert summary(outcomes) == {
        "a": ("ran", 0), "b": ("failed", 7), "c": ("skipped", 0), "d": ("ran", 0), "e": ("ran", 0),
    }  # fmt: skip
    assert outcomes["a"].where.endswith(f"/{os.getpid()}")
    (toy.root / "go").touch()
    assert summary(toy.run(rules=toy.rules(pool=pool))) == {
        "a": ("cached", 0), "b": ("ran", 0), "c": ("ran", 0), "d": ("cached", 0), "e": ("cached", 0),
    }  # fmt: skip
    assert toy.executed() == ["a", "b", "d", "e", "b", "c"]


def test_what_is_not_in_the_job_comes_from_the_cache_and_is_refused_if_it_is_not_there(toy: Toy) -> None:
    gpu = {"meta": {"pool": "gpu"}}
    toy.stages(a={"run": "in:", **gpu}, b="a:", c="b:")
    lines: list[str] = []
    outcomes = toy.run("b", "c", rules=toy.rules("b", "c", pool="cpu"), on_line=lines.append)
    assert summary(outcomes) == {"b": ("failed", 5), "c": ("skipped", 0)}
    (said,) = [line for line in lines if line.startswith("error: ")]
    assert said.startswith("error: a: belongs to pool gpu and is not in the cache; this agent serves cpu; ")
    assert toy.executed() == []
    toy.run("a")
    (toy.root / "dvc.lock").unlink()
    (toy.root / "a.txt").unlink()
    assert summary(toy.run("b", "c", rules=toy.rules("b", "c", pool="cpu"))) == {"b": ("ran", 0), "c": ("ran", 0)}
    assert toy.executed() == ["a", "b", "c"]


def test_jobs_run_side_by_side_in_one_workspace_though_they_need_the_same(toy: Toy) -> None:
    meets = (
        "touch {0}.here; for n in $(seq 300); do [ -e {1}.here ] && break; sleep 0.1; done; [ -e {1}.here ] || exit 1"
    )
    left, right = meets.format("left", "right"), meets.format("right", "left")
    toy.stages(a="in:", left=f"a: {left}", right=f"a: {right}", after="right:")
    toy.run("a")
    found: dict[str, Outcome] = {}
    with ThreadPoolExecutor() as lanes:
        for outcomes in lanes.map(lambda names: toy.run(*names), [("left",), ("right", "after")]):
            found |= outcomes
    assert summary(found) == {"left": ("ran", 0), "right": ("ran", 0), "after": ("ran", 0)}


def test_a_shared_cache_serves_another_clone(tmp_path: Path) -> None:
    first = Toy.make(tmp_path / "one", cache=tmp_path / "cache")
    first.stages(a="in:", b="a:")
    first.run("a")
    second = first.clone(tmp_path / "two")
    assert summary(second.run("b", rules=second.rules("b", pool="cpu"))) == {"b": ("ran", 0)}
    assert (second.root / "b.txt").read_text() == "1\n"
    assert summary(first.run()) == {"a": ("cached", 0), "b": ("cached", 0)}
    assert second.executed() == ["a", "b"]


def test_dvcs_own_failure_is_told_from_a_stages(toy: Toy) -> None:
    toy.stages(a="in:", b="nowhere:", c="b:")
    lines: list[str] = []
    outcomes = toy.run(on_line=lines.append)
    assert summary(outcomes) == {"a": ("ran", 0), "b": ("failed", 1), "c": ("skipped", 0)}
    assert any("nowhere" in line for line in lines)


def test_sigterm_lets_the_stage_save_and_says_that_it_was_interrupted(toy: Toy) -> None:
    toy.stages(a="in:", long="a: " + STAYS.format(pid="pid.txt").partition(":")[2], after="long:")
    process = toy.start()
    until((toy.root / "pid.txt").exists)
    until((toy.root / "pid.txt").read_text)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    told = json.loads((toy.root / "outcomes.jsonl").read_text())
    found = {name: (told[name]["state"], told[name]["exit_code"]) for name in told}
    assert found == {"a": ("ran", 0), "long": ("failed", 75), "after": ("skipped", 0)}
    assert (toy.root / "saved.txt").read_text() == "saved\n"
    assert processes_in(toy.root) == {}


def test_a_stage_that_says_nonsense_when_it_is_told_to_end_was_interrupted_all_the_same(toy: Toy) -> None:
    toy.stages(long="in: trap 'exit 4' TERM; echo > here; for n in $(seq 600); do sleep 0.1; done")
    process = toy.start()
    until((toy.root / "here").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    told = json.loads((toy.root / "outcomes.jsonl").read_text())
    assert (told["long"]["state"], told["long"]["exit_code"]) == ("failed", 75)


LINKS = {
    "caller": r"tests\.running\.runner", "supervisor": r"running\.supervise import", "dvc": r"^\S+ -m dvc ",
    "guard": r"running\.guarded import", "caller and supervisor": r"tests\.running\.runner|running\.supervise import",
    "supervisor and guard": r"running\.(supervise|guarded) import",
}  # fmt: skip


@pytest.mark.parametrize("victim", [*LINKS, "the caller's group"])
def test_whatever_is_killed_the_stage_saves_and_nothing_stays(toy: Toy, victim: str) -> None:
    toy.stages(long=STAYS.format(pid="pid.txt"))
    process = toy.start()
    until((toy.root / "pid.txt").exists)
    until((toy.root / "pid.txt").read_text)
    stage = int((toy.root / "pid.txt").read_text())
    if victim == "the caller's group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        for pid in [pid for pid, words in processes_in(toy.root).items() if re.search(LINKS[victim], words)]:
            os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(stage), 20)
    process.wait(60)
    until(lambda: processes_in(toy.root) == {}, 20)
    assert (toy.root / "saved.txt").read_text() == "saved\n"
    assert [one.state for one in read_ledger(toy.root / "ledger.jsonl")] == ["failed"]
    assert [one.code for one in read_ledger(toy.root / "ledger.jsonl")] == [75]


def test_a_stage_whose_guard_was_killed_is_ended_though_dvc_goes_on(toy: Toy) -> None:
    gone = (
        "for n in $(seq 300); do kill -0 $(cat pid.txt) 2>/dev/null || break; sleep 0.1; done; [ $n -lt 300 ] || exit 1"
    )
    toy.stages(long=STAYS.format(pid="pid.txt"), other=f"in: {gone}")
    process = toy.start(more=["pool=cpu"])
    until((toy.root / "pid.txt").exists)
    until((toy.root / "pid.txt").read_text)
    (guard,) = [pid for pid, words in processes_in(toy.root).items() if re.search(LINKS["guard"], words)]
    os.kill(guard, signal.SIGKILL)
    assert process.wait(90) == 0
    told = json.loads((toy.root / "outcomes.jsonl").read_text())
    assert [(told[name]["state"], told[name]["exit_code"]) for name in ("long", "other")] == [
        ("failed", 75),
        ("ran", 0),
    ]
