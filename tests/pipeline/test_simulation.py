"""Five hundred stages on twenty agents, in a server made of a few lines and with a clock that jumps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.states import Cancelled, Completed, Running, Scheduled, State

from benchmarks.orchestration_agents import seconds_of
from benchmarks.orchestration_simulation import SHORT, like_ours, without_overhead
from pipeline.conductor import Patience, conduct
from pipeline.flows import pools
from pipeline.jobs import Job, Outcome, judge, plan_jobs

pytestmark = pytest.mark.slow

AGENTS = {"gpu": 16, "cpu": 4}
SCALE = 10.0  # a training's median is 4 minutes, so that looking once a second hardly counts
GRAPH = like_ours(datasets=4, methods=8, seeds=5)


class Toy:
    """What the coordinator needs of Prefect's server and its agents."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.runs: dict[UUID, SimpleNamespace] = {}
        self.ends: dict[UUID, float] = {}
        self.read: Counter[str] = Counter()  # state -> rows that were sent
        self.most: Counter[str] = Counter()  # pool -> jobs that waited here at a time
        self.stubborn: set[UUID] = set()

    def __enter__(self) -> Toy:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def submit(self, name: str, parameters: Mapping[str, Any], timeout: float, tags: Sequence[str]) -> Any:
        run = SimpleNamespace(id=uuid4(), pool=name.rpartition("/")[2], nodes=parameters["nodes"], tags=list(tags))
        self.runs[run.id] = run
        self.to(run, Scheduled())
        waiting = Counter(run.pool for run in self.runs.values() if run.state_type == "SCHEDULED")
        self.most |= waiting
        return run

    def to(self, run: SimpleNamespace, state: State[Any]) -> None:
        run.state, run.state_type = state, state.type

    def pause(self, seconds: float) -> None:
        """Let time pass and agents work."""
        self.clock += seconds
        for key in [key for key, end in self.ends.items() if end <= self.clock]:
            del self.ends[key]
            self.to(self.runs[key], Completed())
        for run in list(self.runs.values()):
            busy = sum(self.runs[key].pool == run.pool for key in self.ends)
            if run.state_type == "SCHEDULED" and busy < AGENTS[run.pool]:
                self.to(run, Running())
                self.ends[run.id] = self.clock + sum(seconds_of(node["name"], SCALE) for node in run.nodes)

    def read_flow_runs(self, flow_run_filter: FlowRunFilter, limit: int) -> list[SimpleNamespace]:
        chosen = flow_run_filter
        found = [run for run in self.runs.values() if chosen.id is None or run.id in (chosen.id.any_ or [])]
        if chosen.state and chosen.state.type:
            found = [run for run in found if run.state_type in (chosen.state.type.any_ or [])]
        if chosen.state and chosen.state.name:
            found = [run for run in found if run.state.name in (chosen.state.name.any_ or [])]
        self.read.update(run.state_type.value for run in found[:limit])
        return found[:limit]

    def read_artifacts(self, artifact_filter: ArtifactFilter, limit: int) -> list[SimpleNamespace]:
        assert artifact_filter.flow_run_id is not None
        asked = artifact_filter.flow_run_id.any_ or []
        assert len(asked) <= limit
        return [SimpleNamespace(flow_run_id=key, data=self.table(key)) for key in asked]

    def table(self, key: UUID) -> str:
        return json.dumps([{"stage": node["name"], "state": "ran"} for node in self.runs[key].nodes])

    def read_workers_for_work_pool(self, pool: str) -> list[SimpleNamespace]:
        return []

    def set_flow_run_state(self, key: UUID, state: State[Any]) -> None:
        if key not in self.stubborn:
            self.to(self.runs[key], Cancelled())


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    toy = Toy()
    monkeypatch.setattr(pools, "run_deployment", toy.submit)
    monkeypatch.setattr(pools, "get_client", lambda **_: toy)
    yield toy


def reproduce(toy: Toy, jobs: Sequence[Job]) -> None:
    """Conduct the jobs on the toy's agents; fails if a stage did."""
    task = pools.Task("0" * 40, "", {name: node.pool for name, node in GRAPH.items()}, (), 300.0, frozenset())
    backend = pools.Pools(task, lambda job: [Outcome(name, "ran") for name in job.names], lambda job: False)
    judge(conduct(jobs, GRAPH, backend, Patience([], 0, 1.0), toy.pause))


def test_500_stages_on_20_agents_take_hardly_longer_than_with_a_scheduler_that_costs_nothing(toy: Toy) -> None:
    jobs = plan_jobs(GRAPH, SHORT)
    assert len(GRAPH) > 500
    reproduce(toy, jobs)
    ideal = without_overhead(jobs, AGENTS, {name: seconds_of(name, SCALE) for name in GRAPH})
    assert toy.clock <= 1.02 * ideal
    ran = Counter(node["name"] for run in toy.runs.values() for node in run.nodes)
    assert set(ran.values()) == {1}
    assert set(ran) == {name for name, node in GRAPH.items() if node.pool != pools.HERE}


def test_only_a_pools_next_jobs_wait_on_the_server_and_running_ones_are_not_read(toy: Toy) -> None:
    jobs = plan_jobs(GRAPH, SHORT)
    gpu = [job for job in jobs if job.pool == "gpu"]
    reproduce(toy, jobs)
    assert AGENTS["gpu"] <= toy.most["gpu"] <= len(gpu) / 4
    assert toy.read["RUNNING"] == 0
    assert toy.read["COMPLETED"] == len(toy.runs)


def test_jobs_left_over_are_taken_back_however_many_and_one_that_refuses_does_not_hold_up_the_run(toy: Toy) -> None:
    for _ in range(450):
        toy.submit("stages/gpu", {"nodes": []}, 0, ())
    toy.stubborn = {list(toy.runs)[17]}
    pools.clear_leftovers(("cartoon",))
    left = [key for key, run in toy.runs.items() if run.state_type != "CANCELLED"]
    assert left == list(toy.stubborn)
