"""Jobs: stages that run one after the other in one process on one machine, because starting each alone takes seconds.

A job holds stages of one pool. Nothing is lost when one fails in its middle: what it finished is in DVC's cache, and
the same job again takes it from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.graph import Graph, StageNode

State = Literal["ran", "cached", "failed", "skipped"]
MOST = 24  # stages in a job


@dataclass(frozen=True)
class Outcome:
    """What became of one stage of a job."""

    stage: str
    state: State
    exit_code: int = 0  # of the stage, if it failed
    seconds: float = 0.0  # of the stage's own process
    where: str = ""  # the machine and agent that ran it
    before_or_after: bool = False  # it failed in bringing or sharing results, not in the stage's own process


@dataclass(frozen=True)
class Job:
    """Stages of one pool, upstream first."""

    stages: tuple[StageNode, ...]

    @property
    def pool(self) -> str:
        """Where it belongs."""
        return self.stages[0].pool

    @property
    def names(self) -> tuple[str, ...]:
        """DVC's addresses."""
        return tuple(stage.name for stage in self.stages)

    @property
    def title(self) -> str:
        """A few words for people: its stages, or their kinds if there are many."""
        short = [name.rpartition(":")[2] for name in self.names]
        if len(short) <= 3:
            return ", ".join(short)
        kinds = list(dict.fromkeys(stage.kind for stage in self.stages))
        return f"{len(short)} stages: {', '.join(kinds)}"


def plan_jobs(chosen: Graph, short: Collection[str], most: int = MOST) -> list[Job]:
    """Put stages into jobs without making anything long wait for anything it does not need.

    A stage joins the job of a stage it needs, if nothing else that is long stands between; stages of ``short`` kinds of
    one pool also join each other.

    Args:
        chosen: stages to run, upstream first.
        short: kinds of stages (``plan``) that take seconds.
        most: stages in one job.

    Returns: jobs, upstream first; every chosen stage is in exactly one.
    """
    plan = _Plan(chosen, most)
    for name, node in chosen.items():
        plan.place(name, node, frozenset(short))
    return plan.jobs()


class _Plan:
    """Jobs in the making; numbers grow downstream, so a job never needs one with a higher number of its own making."""

    def __init__(self, chosen: Graph, most: int) -> None:
        self._chosen = chosen
        self._most = most
        self._home: dict[str, int] = {}
        self._members: list[list[str]] = []
        self._needs: list[set[int]] = []  # all jobs upstream of a job, direct or not

    def place(self, name: str, node: StageNode, short: frozenset[str]) -> None:
        needed = {self._home[upstream] for upstream in node.upstream if upstream in self._home}
        behind = needed.union(*(self._needs[job] for job in needed)) if needed else set()
        for job in reversed(range(len(self._members))):
            if self._may_join(node, job, behind, short):
                self._members[job].append(name)
                self._add_needs(job, behind - {job})
                self._home[name] = job
                return
        self._home[name] = len(self._members)
        self._members.append([name])
        self._needs.append(behind)

    def _may_join(self, node: StageNode, job: int, behind: set[int], short: frozenset[str]) -> bool:
        first = self._chosen[self._members[job][0]]
        if first.pool != node.pool or first.dvcfile != node.dvcfile or len(self._members[job]) >= self._most:
            return False
        others = behind - {job} - self._needs[job]
        if any(job in self._needs[other] for other in others):
            return False  # it would have to wait for what waits for it
        quick = node.kind in short
        follows = job in behind
        if quick and self._is_short(job, short):
            return all(self._is_short(other, short) for other in others)
        if follows and all(self._is_short(other, short) for other in others):
            return quick or self._nobody_else_waits(node, job)
        return False

    def _nobody_else_waits(self, node: StageNode, job: int) -> bool:
        """Whether all that needs the job's stages needs this stage too, so that nothing waits for it in vain."""
        members = set(self._members[job])
        below = {node.name}
        for name, other in self._chosen.items():  # upstream first, so one pass finds all that follows
            if below.intersection(other.upstream):
                below.add(name)
        return all(
            name in members or name in below
            for name, other in self._chosen.items()
            if members.intersection(other.upstream)
        )

    def _is_short(self, job: int, short: frozenset[str]) -> bool:
        return all(self._chosen[name].kind in short for name in self._members[job])

    def _add_needs(self, job: int, more: set[int]) -> None:
        self._needs[job] |= more
        for needs in self._needs:
            if job in needs:
                needs |= self._needs[job]

    def jobs(self) -> list[Job]:
        """All jobs, those that are needed first."""
        order = sorted(range(len(self._members)), key=lambda job: (len(self._needs[job]), job))
        return [Job(tuple(self._chosen[name] for name in self._members[job])) for job in order]


def summary(outcomes: Iterable[Outcome]) -> Mapping[str, int]:
    """How many stages ended in each state."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.state] = counts.get(outcome.state, 0) + 1
    return counts


class StagesFailed(Exception):  # noqa: N818 (a result, named by what happened)
    """Some stages failed; every stage that did not need them was run all the same."""

    def __init__(self, failed: list[str], skipped: list[str], exit_code: int) -> None:
        after = f"; skipped, because they need them: {', '.join(skipped)}" if skipped else ""
        super().__init__(f"failed: {', '.join(failed)}{after}. Run the same command again to continue from here")
        self.exit_code = exit_code


def judge(outcomes: Mapping[str, Outcome]) -> None:
    """Look whether all is done.

    Raises: StagesFailed with the exit code of the first stage that failed.
    """
    failed = [name for name, outcome in outcomes.items() if outcome.state == "failed"]
    skipped = [name for name, outcome in outcomes.items() if outcome.state == "skipped"]
    if failed or skipped:
        raise StagesFailed(failed, skipped, outcomes[failed[0]].exit_code if failed else 1)
