"""The flow: run every out-of-date stage and what depends on it, each where it belongs, siblings side by side."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner

from pipeline.graph import Graph, StageNode, read_graph, select, stale_stages, to_run
from pipeline.params import read_params
from pipeline.running.process import GROUPS, RETRIED_CODES, Lanes, StageFailed, make_lanes, run_stage

_RETRY_SECONDS: list[float] = [10, 60, 300]
_ALL_AT_ONCE = 10_000  # threads are only waiting rooms; lanes decide what runs


class StagesFailed(Exception):  # noqa: N818 (a result, named by what happened)
    """Some stages failed; every stage that did not need them was run all the same."""

    def __init__(self, failed: list[str], skipped: list[str], exit_code: int) -> None:
        after = f"; skipped, because they need them: {', '.join(skipped)}" if skipped else ""
        super().__init__(f"failed: {', '.join(failed)}{after}. Run the same command again to continue from here")
        self.exit_code = exit_code


_RUNNER: Any = ThreadPoolTaskRunner(max_workers=_ALL_AT_ONCE)


@flow(name="reproduce", task_runner=_RUNNER)
def reproduce(
    root: str = ".", dvcfile: str = "dvc.yaml", targets: list[str] | None = None, gpu_slots: int | None = None
) -> list[str]:
    """Bring the pipeline up to date.

    Args:
        root: the project, where ``dvc`` is started.
        dvcfile: which profile, as the path of its dvc.yaml from the root.
        targets: stages (or groups such as ``train``) to bring up to date with all they need; None means everything.
        gpu_slots: how many ``gpu`` stages run at a time; None means one per GPU, 1 without one.

    Returns: names of the stages that were run.
    Raises: StagesFailed after everything that could run has run.
    """
    _quiet_known_failures()
    folder = Path(root).resolve()
    graph = select(read_graph(folder), dvcfile, targets or ())
    chosen = to_run(graph, stale_stages(folder, dvcfile))
    get_run_logger().info("%d of %d stages to run", len(chosen), len(graph))
    with _signals_reach_the_stages():
        futures = _submit(chosen, folder, make_lanes(gpu_slots, _gpus_of(folder / dvcfile)))
        wait(list(futures.values()))
    _judge({name: future.state for name, future in futures.items()})
    return list(chosen)


def _gpus_of(dvcfile: Path) -> int | str:
    """Return how many GPUs one training of this profile uses; a graph without a params file has none to ask for."""
    params = dvcfile.with_name("params.yaml")
    train = read_params(params).get("train") if params.exists() else None
    gpus: int | str = train.get("gpus", 1) if isinstance(train, dict) else 1
    return gpus


def _submit(chosen: Graph, root: Path, lanes: Lanes) -> dict[str, PrefectFuture[None]]:
    futures: dict[str, PrefectFuture[None]] = {}
    for name, node in chosen.items():
        needed: Any = [futures[upstream] for upstream in node.upstream if upstream in futures]
        futures[name] = _as_task(node, root, lanes).submit(wait_for=needed, return_state=False)
    return futures


def _as_task(node: StageNode, root: Path, lanes: Lanes) -> Task[[], None]:
    """One stage as a Prefect task; what fetches from a network is tried again, slower each time."""

    def stage() -> None:
        logger = get_run_logger()
        with lanes.lane(node.pool) as environment:
            run_stage(node.name, root, environment, logger.info)

    make = task(
        name=node.kind,
        task_run_name=node.name.replace("{", "(").replace("}", ")"),
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(_RETRY_SECONDS) if node.network else 0,
        retry_delay_seconds=_RETRY_SECONDS,
        retry_jitter_factor=0.5,
        retry_condition_fn=_worth_another_try,
    )
    return make(stage)


def _worth_another_try(_task: Any, _run: Any, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailed) and error.exit_code in RETRIED_CODES


def _judge(states: dict[str, State[Any]]) -> None:
    """Raise if any stage failed; a stage that never ran is 'skipped', not failed."""
    failed = [name for name, state in states.items() if state.is_failed() or state.is_crashed() or state.is_cancelled()]
    skipped = [name for name, state in states.items() if name not in failed and not state.is_completed()]
    if failed or skipped:
        error = states[failed[0]].result(raise_on_failure=False) if failed else None
        raise StagesFailed(failed, skipped, getattr(error, "exit_code", 1))


def _quiet_known_failures() -> None:
    """A stage that failed has said why in its own lines; Prefect's traceback through this file would bury them."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], (StageFailed, StagesFailed)):
        record.exc_info = None
    return True


@contextmanager
def _signals_reach_the_stages() -> Iterator[None]:
    """While stages run, SIGTERM and Ctrl-C end their process groups before this process ends as it would have."""
    GROUPS.reopen()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: Any) -> None:
        GROUPS.terminate()
        handler = previous[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
