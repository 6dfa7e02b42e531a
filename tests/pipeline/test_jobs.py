"""Which stages share a job: nothing long waits for what it does not need, and seconds do not cost minutes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.graph import StageNode, read_graph, select
from pipeline.jobs import MOST, Job, plan_jobs

ROOT = Path(__file__).resolve().parents[2]


def node(name: str, upstream: tuple[str, ...] = (), pool: str = "cpu") -> StageNode:
    return StageNode(name, "dvc.yaml", pool, False, upstream)


def graph(*nodes: StageNode) -> dict[str, StageNode]:
    return {each.name: each for each in nodes}


def names(jobs: list[Job]) -> list[tuple[str, ...]]:
    return [job.names for job in jobs]


def test_the_demo_is_seven_jobs_and_its_trainings_stay_apart() -> None:
    from pipeline.scheduling import read_scheduling

    chosen = select(read_graph(ROOT), "dvc.yaml")
    jobs = plan_jobs(chosen, read_scheduling(ROOT / "params.yaml").short)
    assert len(jobs) == 7
    assert sum("train@" in name for job in jobs for name in job.names) == 4
    assert all(sum("train@" in name for name in job.names) <= 1 for job in jobs)
    assert {name for job in jobs for name in job.names} == set(chosen)


def test_a_chain_of_one_pool_is_one_job_and_another_pool_begins_another() -> None:
    chosen = graph(node("a"), node("b", ("a",)), node("c", ("b",), "gpu"), node("d", ("c",), "gpu"))
    assert names(plan_jobs(chosen, [])) == [("a", "b"), ("c", "d")]


def test_long_siblings_run_side_by_side_and_short_ones_together() -> None:
    chosen = graph(node("a"), node("b"), node("c", ("a",)), node("d", ("a",)))
    assert names(plan_jobs(chosen, [])) == [("a",), ("b",), ("c",), ("d",)]
    assert names(plan_jobs(chosen, ["a", "b", "c", "d"])) == [("a", "b", "c", "d")]


def test_a_stage_that_also_needs_something_long_elsewhere_waits_alone() -> None:
    chosen = graph(node("a"), node("long", (), "gpu"), node("both", ("a", "long")))
    assert names(plan_jobs(chosen, [])) == [("a",), ("long",), ("both",)]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, StageNode]:
    size = draw(st.integers(1, 24))
    made: dict[str, StageNode] = {}
    for number in range(size):
        kind = draw(st.sampled_from(["train", "plan", "swap", "crop"]))
        upstream = draw(st.sets(st.sampled_from(sorted(made)), max_size=3)) if made else set()
        name = f"{kind}@{number}"
        made[name] = node(name, tuple(sorted(upstream)), draw(st.sampled_from(["cpu", "gpu"])))
    return made


@settings(max_examples=300, deadline=None)
@given(graphs(), st.sets(st.sampled_from(["train", "plan", "swap", "crop"])), st.integers(1, MOST))
def test_any_graph_becomes_jobs_that_can_run_one_after_the_other(
    chosen: dict[str, StageNode], short: set[str], most: int
) -> None:
    jobs = plan_jobs(chosen, short, most)
    done: set[str] = set()
    for job in jobs:
        assert len(job.names) <= most
        assert {stage.pool for stage in job.stages} == {job.pool}
        for stage in job.stages:  # upstream first, inside the job and across jobs
            assert set(stage.upstream) <= done
            done.add(stage.name)
    assert done == set(chosen)
    assert sum(len(job.names) for job in jobs) == len(chosen)
