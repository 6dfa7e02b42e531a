"""What orchestration costs: seconds beyond the stages' own processes, and the share of the wall time.

    python -m benchmarks.orchestration_overhead                    # the last coordinated run of this project's server
    python -m benchmarks.orchestration_overhead --run ID --root FOLDER
    python -m benchmarks.orchestration_overhead --here             # runs what is out of date here, without agents
    python -m benchmarks.orchestration_overhead --toy agents       # stages that sleep, in the demo's shape; also: here

Of a coordinated run, Prefect's server knows all that is needed; the run must not have been disturbed. Of each job:

    react   from the end of the last job it needs to its submission
    take    until an agent has claimed it, less the time in which that agent was busy with something else
    start   until its flow begins: a process, its imports
    around  in the flow, beyond the stages' own processes: git, DVC, the guard, the report

Before the first and after the last job the coordinator looks, restores, commits: ``head`` and ``tail``. The share of
the wall time is against a scheduler that costs nothing, with the same jobs, agents and seconds of stages.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.orchestration_simulation import without_overhead
from pipeline.graph import StageNode
from pipeline.jobs import Job, Outcome


@dataclass(frozen=True)
class Record:
    """One job, in seconds."""

    title: str
    agent: str
    stages: int
    own_s: float  # of the stages' processes
    react: float
    take: float
    start: float
    around: float

    @property
    def overhead(self) -> float:
        return self.react + self.take + self.start + self.around


@dataclass(frozen=True)
class Run:
    """What one run cost."""

    wall_s: float
    head_s: float
    tail_s: float  # without stages that the coordinator runs itself
    ideal_s: float  # wall of a scheduler that costs nothing
    stages: int
    records: list[Record]

    def figures(self) -> dict[str, float]:
        jobs = sum(record.overhead for record in self.records)
        return {
            "stages": self.stages, "jobs": len(self.records), "wall_s": self.wall_s, "ideal_wall_s": self.ideal_s,
            "head_s": self.head_s, "tail_s": self.tail_s, "jobs_overhead_s": jobs,
            "overhead_per_stage_s": jobs / self.stages,
            "overhead_per_stage_with_head_and_tail_s": (jobs + self.head_s + self.tail_s) / self.stages,
            "share_of_wall": 1 - self.ideal_s / self.wall_s,
        }  # fmt: skip


def coordinated(url: str, wanted: str | None) -> Run:
    """Read a coordinated run, the newest if none is named, from Prefect's server."""
    from pipeline.operating.api import Api, worker_of

    api = Api(url)
    chosen = {"id": {"any_": [wanted]}} if wanted else {"state": {"type": {"any_": ["COMPLETED"]}}}
    body = {"flows": {"name": {"any_": ["reproduce"]}}, "flow_runs": chosen, "sort": "START_TIME_DESC", "limit": 20}
    for parent in api.ask("POST", "/flow_runs/filter", body):
        body = {"flow_runs": {"parent_flow_run_id": {"any_": [parent["id"]]}}, "sort": "START_TIME_ASC"}
        rows = api.ask("POST", "/flow_runs/filter", body)
        if rows:
            break
    else:
        raise SystemExit(f"{url}: no coordinated run with jobs; `cartoon-pipeline run` makes one")
    told = {row["id"]: _table(api, row["id"]) for row in rows}
    jobs = {row["id"]: Job(tuple(_node(node) for node in row["parameters"]["nodes"])) for row in rows}
    ended = {stage: _at(row["end_time"]) for row in rows for stage in jobs[row["id"]].names}
    free: dict[str, float] = {}
    records = []
    for row in rows:
        job, agent = jobs[row["id"]], str(worker_of(row))
        needs = {up for stage in job.stages for up in stage.upstream} - set(job.names)
        submitted, began, end = _at(row["expected_start_time"]), _at(row["start_time"]), _at(row["end_time"])
        taken = _taken(api, row["id"])
        ready = max((ended[name] for name in needs if name in ended), default=submitted)
        own = sum(one.seconds for one in told[row["id"]])
        records.append(
            Record(
                job.title, agent, len(job.names), own, submitted - ready,
                taken - max(submitted, free.get(agent, 0.0)), began - taken, end - began - own,
            )
        )  # fmt: skip
        free[agent] = end
    names = {name for job in jobs.values() for name in job.names}
    here = [one for one in _table(api, parent["id"]) if one.stage not in names]
    here_s = sum(one.seconds for one in here)
    seconds = {one.stage: one.seconds for table in told.values() for one in table}
    agents = {job.pool: 0 for job in jobs.values()}
    for pool, _ in {(jobs[row["id"]].pool, worker_of(row)) for row in rows}:
        agents[pool] += 1
    begun, over = _at(parent["start_time"]), _at(parent["end_time"])
    return Run(
        over - begun, min(_at(row["expected_start_time"]) for row in rows) - begun,
        over - max(_at(row["end_time"]) for row in rows) - here_s,
        without_overhead(list(jobs.values()), agents, seconds) + here_s, len(names) + len(here), records,
    )  # fmt: skip


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _node(entry: Mapping[str, Any]) -> StageNode:
    return StageNode(**{**entry, "upstream": tuple(entry["upstream"])})


def _taken(api: Any, run: str) -> float:
    states = api.ask("GET", f"/flow_run_states/?flow_run_id={run}")
    return min(_at(state["timestamp"]) for state in states if state["type"] == "PENDING")


def _table(api: Any, run: str) -> list[Outcome]:
    wanted = {"flow_run_id": {"any_": [run]}, "type": {"any_": ["table"]}}
    rows: list[dict[str, Any]] = []
    for artifact in api.ask("POST", "/artifacts/filter", {"artifacts": wanted}):
        rows += json.loads(artifact["data"]) if isinstance(artifact["data"], str) else artifact["data"]
    return [Outcome(row["stage"], row["state"], seconds=float(row["seconds"])) for row in rows]


def embedded(root: Path, gpu_slots: int | None) -> Run:
    """Run what is out of date in a folder, without agents, and watch it."""
    from pipeline.flows import here
    from pipeline.operating.settings import prefect_environment
    from pipeline.running.lanes import gpu_devices

    os.environ.update(prefect_environment(root))
    noted: list[tuple[Job, float, float, list[Outcome]]] = []
    plain = here.run_job

    def watched(job: Job, *arguments: Any) -> list[Outcome]:
        begun = time.time()
        outcomes = plain(job, *arguments)
        noted.append((job, begun, time.time(), outcomes))
        return outcomes

    with mock.patch.object(here, "run_job", watched):
        begun = time.time()
        here.reproduce_here(str(root), gpu_slots=gpu_slots)
        wall = time.time() - begun
    if not noted:
        raise SystemExit(f"{root}: everything is up to date, so there is nothing to measure")
    records = []
    for job, start, end, outcomes in noted:
        own = sum(one.seconds for one in outcomes)
        records.append(Record(job.title, job.pool, len(job.names), own, 0.0, 0.0, 0.0, end - start - own))
    seconds = {one.stage: one.seconds for *_, outcomes in noted for one in outcomes}
    many = {"cpu": os.cpu_count() or 1, "gpu": gpu_slots or len(gpu_devices()) or 1}
    return Run(
        wall, min(start for _, start, *_ in noted) - begun, begun + wall - max(end for *_, end, _ in noted),
        without_overhead([job for job, *_ in noted], many, seconds), sum(len(job.names) for job, *_ in noted), records,
    )  # fmt: skip


def toy_project(folder: Path, scale: float) -> Path:
    """A project in the demo's shape whose stages sleep."""
    from tests.orchestration.platform import repository, stage

    def nap(seconds: float) -> str:
        return f"sleep {scale * seconds:.2f}"

    methods = ("m0", "m1", "m2", "m3")
    text = stage("crawl", nap(2)) + stage("crop", nap(3), ("crawl",)) + stage("lmdb", nap(2), ("crawl", "crop"))
    text += stage("pretrained", nap(3)) + "".join(stage(f"plan-{method}", nap(2)) for method in methods)
    text += stage("reference", nap(4), ("lmdb",), pool="gpu")
    for method in methods:
        needs = (f"plan-{method}", "lmdb", "pretrained")
        text += stage(f"train-{method}", nap(20), needs, pool="gpu")
        text += stage(f"swap-{method}", nap(3), ("pretrained", f"train-{method}"), pool="gpu")
        last = ("reference", "lmdb", "pretrained", f"train-{method}", f"swap-{method}")
        text += stage(f"evaluate-{method}", nap(8), last, pool="gpu")
    text += stage("compare", nap(3), tuple(f"evaluate-{method}" for method in methods))
    text += stage("page", nap(3), ("compare",))
    publish = {"cmd": f"{nap(2)} && echo 1 > out.json", "deps": ["work/page.txt"],
               "metrics": [{"out.json": {"cache": False}}]}  # fmt: skip
    text += f"  publish: {json.dumps(publish)}\n"
    short = ["crawl", "crop", "lmdb", "pretrained", "reference", "compare", "page"]
    short += [f"{kind}-{method}" for kind in ("plan", "swap") for method in methods]
    params = {"profile": "demo", "root": ".", "params_file": "params.yaml",
              "scheduling": {"short": short, "retry_s": [1.0], "start_s": 300.0}}  # fmt: skip
    return repository(folder, text, {"params.yaml": json.dumps(params, indent=1) + "\n"})


def toy_agents(folder: Path, scale: float) -> Run:
    """Run the toy on a server and agents of its own: two of pool cpu, one of pool gpu."""
    from tests.orchestration.platform import PYTHON, agent, serving, wait_for

    project = toy_project(folder / "project", scale)
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder / "server"))
        command = [*PYTHON, "pipeline.cli", "--root", str(project)]
        subprocess.run([*command, "deploy"], cwd=project, env=server.environment(), check=True, capture_output=True)
        stack.enter_context(agent(server, project, "cpu", "--slots", "2"))
        stack.enter_context(agent(server, project, "gpu"))
        for pool, many in (("cpu", 2), ("gpu", 1)):
            wait_for(
                lambda pool=pool, many=many: len(server.call("POST", f"/work_pools/{pool}/workers/filter", {})) >= many
            )
        subprocess.run([*command, "run"], cwd=project, env=server.environment(), check=True)
        return coordinated(server.api, None)


def tell(run: Run) -> None:
    head = ("job", "agent", "stages", "own s", "react", "take", "start", "around", "beyond")
    rows = [
        (one.title, one.agent, one.stages, one.own_s, one.react, one.take, one.start, one.around, one.overhead)
        for one in run.records
    ]
    for row in [head, *rows]:
        cells = [f"{cell:8.1f}" if isinstance(cell, float) else f"{cell!s:>8}" for cell in row[2:]]
        sys.stdout.write(f"{row[0]!s:42.42} {row[1]!s:22.22} {' '.join(cells)}\n")
    for name, value in run.figures().items():
        sys.stdout.write(f"{name:42} {value:8.2f}\n")


def _measured(options: argparse.Namespace) -> Run:
    from pipeline.operating.settings import find_servers

    if options.toy:
        with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
            if options.toy == "agents":
                return toy_agents(Path(folder), options.scale)
            return embedded(toy_project(Path(folder) / "project", options.scale), None)
    if options.here:
        return embedded(options.root.resolve(), options.gpu_slots)
    url = find_servers(options.root).prefect
    if url is None:
        raise SystemExit("no Prefect server: set PREFECT_API_URL, or run in a project whose server is up")
    return coordinated(url, options.run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--run", help="id of a flow run of `reproduce`")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--gpu-slots", type=int)
    parser.add_argument("--toy", choices=("agents", "here"))
    parser.add_argument("--scale", type=float, default=1.0, help="of the toy's seconds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = _measured(options)
    tell(run)
    if options.json:
        told = {**run.figures(), "records": [asdict(one) for one in run.records], "load": os.getloadavg()[0]}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
