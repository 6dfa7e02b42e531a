"""Order, tries and skips of jobs, on a backend that does as it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pipeline.conductor import Patience, conduct
from pipeline.graph import StageNode
from pipeline.jobs import Job, Outcome, StagesFailed, judge, plan_jobs

PATIENCE = Patience(network_s=[0.0, 0.0], interrupted=3, poll_s=0.0)


def node(name: str, upstream: tuple[str, ...] = (), network: bool = False) -> StageNode:
    return StageNode(name, "dvc.yaml", "cpu", network, upstream)


class Told:
    """Answers each start of a job by a function of the stage and its try; says which jobs were under way together."""

    def __init__(self, answer: Callable[[str, int], Outcome | None]) -> None:
        self.answer = answer
        self.started: list[tuple[str, ...]] = []
        self.together: list[set[str]] = []
        self._under_way: list[tuple[Job, int]] = []
        self._tries: dict[str, int] = {}

    def start(self, job: Job, attempt: int) -> None:
        self.started.append(job.names)
        self._under_way.append((job, attempt))

    def finished(self) -> list[tuple[Job, Sequence[Outcome]]]:
        self.together.append({name for job, _ in self._under_way for name in job.names})
        done = []
        for job, _ in self._under_way:
            outcomes = []
            for name in job.names:
                self._tries[name] = self._tries.get(name, 0) + 1
                if (outcome := self.answer(name, self._tries[name])) is not None:
                    outcomes.append(outcome)
            done.append((job, outcomes))
        self._under_way = []
        return done


def ran(name: str, _try: int) -> Outcome:
    return Outcome(name, "ran")


def run(nodes: Sequence[StageNode], backend: Told, short: Sequence[str] = ()) -> dict[str, Outcome]:
    chosen = {each.name: each for each in nodes}
    return conduct(plan_jobs(chosen, short), chosen, backend, PATIENCE, pause=lambda _: None)


def test_independent_jobs_run_together_and_others_wait_for_what_they_need() -> None:
    backend = Told(ran)
    outcomes = run([node("a"), node("b", ("a",)), node("c", ("a",)), node("d", ("b", "c"))], backend)
    assert {outcome.state for outcome in outcomes.values()} == {"ran"}
    assert backend.started == [("a",), ("b",), ("c",), ("d",)]
    assert {"b", "c"} in backend.together


def test_a_failed_stage_skips_what_needs_it_and_nothing_else() -> None:
    def answer(name: str, _try: int) -> Outcome:
        return Outcome(name, "failed", 7) if name == "bad" else Outcome(name, "ran")

    backend = Told(answer)
    outcomes = run([node("a"), node("bad"), node("after", ("bad", "a")), node("last", ("after",)), node("z")], backend)
    states = {name: outcome.state for name, outcome in outcomes.items()}
    assert states == {"a": "ran", "bad": "failed", "after": "skipped", "last": "skipped", "z": "ran"}
    assert backend.started.count(("bad",)) == 1  # bad input is not tried again
    with pytest.raises(StagesFailed, match="failed: bad; skipped, because they need them: after, last") as caught:
        judge(outcomes)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    ("code", "network", "tries"),
    [(6, True, 3), (6, False, 1), (75, False, 4), (137, False, 4), (143, False, 4), (139, False, 1), (4, True, 1)],
)
def test_only_network_trouble_and_interruptions_are_tried_again(code: int, network: bool, tries: int) -> None:
    backend = Told(lambda name, _try: Outcome(name, "failed", code))
    outcomes = run([node("a", network=network)], backend)
    assert outcomes["a"].exit_code == code
    assert len(backend.started) == tries


@pytest.mark.parametrize(("code", "tries"), [(6, 3), (2, 1)])
def test_a_job_that_could_not_share_its_results_is_tried_again_though_no_stage_uses_the_network(
    code: int, tries: int
) -> None:
    backend = Told(lambda name, _try: Outcome(name, "failed", code, before_or_after=True))
    outcomes = run([node("a"), node("b", ("a",))], backend, ["a", "b"])
    assert {outcome.exit_code for outcome in outcomes.values()} == {code}
    assert backend.started == [("a", "b")] * tries


def test_each_stage_of_a_job_is_tried_as_often_as_its_own_trouble_allows() -> None:
    codes = {"net": 6, "cut": 75, "bad": 4}
    backend = Told(lambda name, _try: Outcome(name, "failed", codes[name]))
    nodes = [node("net", network=True), node("cut"), node("bad", network=True)]
    outcomes = run(nodes, backend, ["net", "cut", "bad"])
    assert {name: outcome.exit_code for name, outcome in outcomes.items()} == codes
    assert backend.started == [("net", "cut", "bad"), ("net", "cut"), ("net", "cut"), ("cut",)]


def test_what_needs_one_that_gets_no_further_try_gets_none() -> None:
    def answer(name: str, _try: int) -> Outcome:
        code = {"cut": 75, "bad": 4}.get(name)
        return Outcome(name, "skipped") if code is None else Outcome(name, "failed", code)

    backend = Told(answer)
    outcomes = run([node("cut"), node("bad"), node("both", ("cut", "bad"))], backend, ["cut", "bad", "both"])
    assert outcomes["both"].state == "skipped"
    assert backend.started == [("cut", "bad", "both"), *[("cut",)] * 3]


def test_a_job_whose_machine_vanished_is_tried_again_without_what_it_had_finished() -> None:
    def answer(name: str, tried: int) -> Outcome | None:
        return None if name == "b" and tried == 1 else Outcome(name, "ran")

    backend = Told(answer)
    outcomes = run([node("a"), node("b", ("a",)), node("c", ("b",))], backend, ["a", "b", "c"])
    assert {name: outcome.state for name, outcome in outcomes.items()} == {"a": "ran", "b": "ran", "c": "ran"}
    assert backend.started == [("a", "b", "c"), ("b",)]


def test_what_was_skipped_by_an_interrupted_stage_comes_along_at_the_next_try() -> None:
    def answer(name: str, tried: int) -> Outcome:
        if tried == 1 and name != "a":
            return Outcome(name, "failed", 75) if name == "b" else Outcome(name, "skipped")
        return Outcome(name, "ran")

    backend = Told(answer)
    outcomes = run([node("a"), node("b", ("a",)), node("c", ("b",))], backend, ["a", "b", "c"])
    assert {outcome.state for outcome in outcomes.values()} == {"ran"}
    assert backend.started == [("a", "b", "c"), ("b", "c")]
