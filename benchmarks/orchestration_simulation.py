"""Does the coordinator keep agents busy? Real coordinator, real Prefect server, simulated agents and stages.

    python -m benchmarks.orchestration_simulation --json OUT.json                 # 507 stages, 20 agents: minutes
    python -m benchmarks.orchestration_simulation --single --scale 0.5            # no batching: a job per stage
    python -m benchmarks.orchestration_simulation --datasets 2 --methods 2 --seeds 2 --agents gpu=3 cpu=1 --scale 0.2

The graph is the pipeline's own on more datasets, methods and seeds; stages are drawn sleeps, a training's median 24 s.
Printed: the wall time against that of a scheduler that costs nothing, how full the pools were while jobs waited, how
long an agent stood idle between two jobs, and processor seconds of the coordinator and of the server per job.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.orchestration_agents import Work, counts, seconds_of
from pipeline.graph import StageNode
from pipeline.jobs import MOST, Job, Outcome, plan_jobs
from tests.orchestration.platform import Server, find

SHORT = ("crawl", "crop", "lmdb", "pretrained", "plan", "reference", "swap", "compare", "page")  # as in params.yaml
_REQUEST = re.compile(r'"(?:GET|POST|PATCH|PUT|DELETE) \S+ HTTP')


def like_ours(datasets: int, methods: int, seeds: int) -> dict[str, StageNode]:
    """The pipeline's graph for so many datasets, methods and seeds, upstream first."""
    nodes: dict[str, StageNode] = {}

    def add(name: str, pool: str, upstream: Collection[str]) -> str:
        nodes[name] = StageNode(name, "dvc.yaml", pool, False, tuple(sorted(upstream)))
        return name

    source = add("pretrained", "cpu", ())
    plans = [add(f"plan@m{method}", "cpu", ()) for method in range(methods)]
    evaluated, trained = [], []
    for dataset in range(datasets):
        raw = add(f"crawl@d{dataset}", "cpu", ())
        faces = add(f"crop@d{dataset}", "cpu", (raw,))
        lmdb = add(f"lmdb@d{dataset}", "cpu", (raw, faces))
        reference = add(f"reference@d{dataset}", "gpu", (lmdb,))
        for method, plan in enumerate(plans):
            for seed in range(seeds):
                own = f"m{method}-d{dataset}-s{seed}"
                trained.append(add(f"train@{own}", "gpu", (plan, lmdb, source)))
                swap = add(f"swap@{own}", "gpu", (source, trained[-1]))
                evaluated.append(add(f"evaluate@{own}", "gpu", (reference, lmdb, source, trained[-1], swap)))
    table = add("compare", "cpu", [*evaluated, *trained])
    page = add("page", "cpu", (table,))
    add("publish", "coordinator", (table, page))
    return nodes


def without_overhead(jobs: Sequence[Job], agents: Mapping[str, int], seconds: Mapping[str, float]) -> float:
    """Wall seconds of the same jobs on the same agents if scheduling cost nothing: first ready, first served."""
    home = {name: index for index, job in enumerate(jobs) for name in job.names}
    needs = [{home[up] for stage in job.stages for up in stage.upstream if up in home} - {index}
             for index, job in enumerate(jobs)]  # fmt: skip
    free = {**agents, "coordinator": 1}
    waiting, running, done, now = list(range(len(jobs))), [], set[int](), 0.0  # type: ignore[var-annotated]
    while waiting or running:
        for index in [one for one in waiting if needs[one] <= done]:
            pool = jobs[index].pool
            if free[pool]:
                free[pool] -= 1
                waiting.remove(index)
                heapq.heappush(running, (now + sum(seconds[name] for name in jobs[index].names), index))
        now, index = heapq.heappop(running)
        free[jobs[index].pool] += 1
        done.add(index)
    return now


def critical_path(graph: Mapping[str, StageNode], seconds: Mapping[str, float]) -> float:
    """Wall seconds with agents without number."""
    ready: dict[str, float] = {}
    for name, node in graph.items():
        ready[name] = seconds[name] + max((ready[up] for up in node.upstream if up in ready), default=0.0)
    return max(ready.values())


def prepare(server: Server, pools: Collection[str]) -> None:
    """Tell the server what `cartoon-pipeline deploy` would."""
    from prefect.utilities.callables import parameter_schema

    from pipeline.flows.automations import Windows, install
    from pipeline.flows.stages import stages
    from pipeline.operating.api import Api

    flow = server.call("POST", "/flows/", {"name": "stages"})["id"]
    for pool in pools:
        server.pool(pool)
        schema = parameter_schema(stages.fn).model_dump_for_openapi()
        body = {"name": pool, "flow_id": flow, "work_pool_name": pool, "parameter_openapi_schema": schema}
        server.call("POST", "/deployments/", {**body, "enforce_parameter_schema": True})
    install(Api(server.api), Windows(120.0, 300.0))


class Telling(Server):
    """A server whose log has a line for every request, with other settings to try."""

    settings: Mapping[str, str] = {}

    def environment(self, **more: str) -> dict[str, str]:
        return {**super().environment(**more), "PREFECT_SERVER_LOGGING_LEVEL": "INFO", **self.settings}


@dataclass(frozen=True)
class Costs:
    """What a process has used."""

    processor_s: float
    memory_mib: float


def costs(pids: Collection[int]) -> Costs:
    """Read /proc."""
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    used = memory = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / tick
        memory += int(fields[21]) * page / 2**20
    return Costs(used, memory)


def conduct_all(
    jobs: Sequence[Job], graph: Mapping[str, StageNode], scale: float, agents: subprocess.Popen[str]
) -> tuple[float, float]:
    """Let the real coordinator run the jobs, inside a flow run as it always is; wall and processor seconds."""
    from prefect import flow

    from pipeline.conductor import Patience, conduct
    from pipeline.flows.pools import HERE, Pools, Task, clear_leftovers
    from pipeline.jobs import judge

    class Watched(Pools):
        """Ends the run if the agents have failed."""

        def finished(self) -> list[tuple[Job, Sequence[Outcome]]]:
            assert agents.poll() is None, "the simulated agents have failed"
            return super().finished()

    def here(job: Job) -> list[Outcome]:
        time.sleep(sum(seconds_of(name, scale) for name in job.names))
        return [Outcome(name, "ran", where=HERE) for name in job.names]

    @flow(name="reproduce", persist_result=False)
    def simulated() -> tuple[float, float]:
        tags = ("cartoon", "profile:simulated")
        pools = {name: node.pool for name, node in graph.items()}
        wall, processor = time.time(), time.process_time()
        clear_leftovers(tags)
        backend = Watched(Task("0" * 40, "simulated", pools, tags, 300.0, frozenset()), here, lambda job: False)
        judge(conduct(jobs, graph, backend, Patience([], 0, 1.0)))
        return time.time() - wall, time.process_time() - processor

    return simulated()


def simulate(options: argparse.Namespace, server: Server) -> dict[str, Any]:
    """Run it once; returns figures by name."""
    graph = like_ours(options.datasets, options.methods, options.seeds)
    begun = time.process_time()
    jobs = plan_jobs(graph, SHORT, 1 if options.single else MOST)
    planned = time.process_time() - begun
    agents = counts(options.agents)
    prepare(server, agents)
    log = server.folder / "server.log"
    command = [sys.executable, "-m", "benchmarks.orchestration_agents", server.api, "--agents", *options.agents,
               "--scale", str(options.scale), "--query", str(options.query)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            time.sleep(5.0)  # all are there
            pids, size = find(server.marker), log.stat().st_size
            idle = costs(pids)
            wall, own = conduct_all(jobs, graph, options.scale, process)
            busy, asked = costs(pids), log.read_text()[size:]
        finally:
            said, _ = process.communicate("")
    told = json.loads(said)
    work = [Work(**one) for one in told["work"]]
    seconds = {name: seconds_of(name, options.scale) for name in graph}
    requests = len(_REQUEST.findall(asked))
    return {
        "stages": len(graph), "jobs": len(jobs), "agents": sum(agents.values()), "wall_s": wall,
        "wall_without_overhead_s": without_overhead(jobs, agents, seconds),
        "critical_path_s": critical_path(graph, seconds),
        "gpu_work_by_agents_s": sum(seconds[n] for n in graph if graph[n].pool == "gpu") / agents["gpu"],
        **fullness(work, agents),
        "planning_processor_s": planned,
        "coordinator_processor_s_per_job": own / len(jobs),
        "coordinator_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "server_processor_s_per_job": (busy.processor_s - idle.processor_s) / len(jobs),
        "server_processor_share": (busy.processor_s - idle.processor_s) / wall,
        "server_memory_mib": busy.memory_mib,
        "requests_per_s": requests / wall, "requests_per_job": requests / len(jobs),
        "claims_lost_to_another_agent": told["lost"], "answers_503": told["refused"],
        "database_locked": asked.count("OperationalError) database"),
        "load": os.getloadavg()[0],
    }  # fmt: skip


def fullness(work: Sequence[Work], agents: Mapping[str, int]) -> dict[str, float]:
    """How busy the agents of pool gpu were from the first moment all had work to the last, and their pauses.

    An agent's pause is from the end of a job's stages to the beginning of the next one's: report, coordinator, queue,
    poll, claim.
    """
    mine = [one for one in work if one.pool == "gpu"]
    by_agent: dict[str, list[Work]] = {}
    for one in sorted(mine, key=lambda one: one.began):
        by_agent.setdefault(one.agent, []).append(one)
    first = max(own[0].began for own in by_agent.values())
    last = min(own[-1].ended for own in by_agent.values())
    busy = sum(max(0.0, min(one.ended, last) - max(one.began, first)) for one in mine)
    pauses = sorted(
        later.began - earlier.ended
        for own in by_agent.values()
        for earlier, later in pairwise(own)
        if first <= earlier.ended and later.began <= last
    )
    many = len(pauses)
    return {
        "gpu_agents_used": len(by_agent), "gpu_agents": agents["gpu"],
        "gpu_pool_full": busy / (agents["gpu"] * (last - first)) if last > first else float("nan"),
        "pause_median_s": pauses[many // 2] if many else float("nan"),
        "pause_95_s": pauses[int(many * 0.95)] if many else float("nan"),
        "pause_mean_s": sum(pauses) / many if many else float("nan"),
        "job_mean_s": sum(one.ended - one.began for one in mine) / len(mine),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=4)
    parser.add_argument("--methods", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--agents", nargs="+", default=["gpu=16", "cpu=4"], metavar="POOL=N")
    parser.add_argument("--scale", type=float, default=1.0, help="of the stages' seconds")
    parser.add_argument("--query", type=float, default=2.0, help="s between two looks of an agent for work")
    parser.add_argument("--single", action="store_true", help="a job for every stage, to put more on the server")
    parser.add_argument("--server", nargs="*", default=[], metavar="NAME=VALUE", help="settings to try on the server")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
        server = Telling(Path(folder) / "server")
        server.settings = {name: value for name, _, value in (word.partition("=") for word in options.server)}
        try:
            server.start()
            settings = server.environment()
            os.environ.update({name: value for name, value in settings.items() if name.startswith("PREFECT")})
            told = simulate(options, server)
        finally:
            server.stop()
    for name, value in told.items():
        sys.stdout.write(f"{name:34} {value:10.3f}\n" if isinstance(value, float) else f"{name:34} {value:10d}\n")
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
