"""Two rules that Prefect's server carries out, because a run whose machine has died cannot say so itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.operating.api import Api

FLOWS = ("stages", "reproduce", "watch")  # only their runs; other flows of a shared server are not ours to judge
_SECOND = "Set up by `cartoon-pipeline deploy`, which also brings it up to date."
_BEAT = "heartbeat"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
_GIVEN_BACK = ("Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry")
_STARTED = "Running"

Change = Literal["created", "updated", "unchanged"]
Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Windows:
    """How long silence lasts before the server takes a run for dead."""

    silent_s: float  # s without a heartbeat; at least three heartbeats, or a slow machine looks like a dead one
    start_s: float  # s from being claimed to running; longer than the slowest start


def rules(windows: Windows) -> list[Rule]:
    """Return the two rules, as Prefect's REST interface has them."""
    silent, start = f"{windows.silent_s:.0f} s", f"{windows.start_s:.0f} s"
    return [
        _rule(
            "cartoon-pipeline: no heartbeat",
            f"A run without a sign of life for {silent} has lost its machine: it is called crashed, so that another "
            "agent gets its work.",
            _silence(after=[_STARTED, _BEAT], expect=[_BEAT, *_ENDS], seconds=windows.silent_s),
            f"No sign of life for {silent}: its machine is gone",
        ),
        _rule(
            "cartoon-pipeline: not started",
            f"A run that a worker has claimed and not started within {start} is called crashed: it would hold its "
            "pool's place for ever.",
            _silence(after=["Pending"], expect=[_STARTED, *_GIVEN_BACK, *_ENDS], seconds=windows.start_s),
            f"Claimed by a worker, but not started within {start}: the worker is gone",
        ),
    ]


def _rule(name: str, about: str, trigger: Rule, message: str) -> Rule:
    action = {"type": "change-flow-run-state", "state": "CRASHED", "message": message, "force": False}
    return {
        "name": name, "description": f"{about} {_SECOND}", "enabled": True, "trigger": trigger, "actions": [action],
    }  # fmt: skip


def _silence(after: Iterable[str], expect: Iterable[str], seconds: float) -> Rule:
    """Fires for each flow run of ours when nothing expected follows what came before."""
    return {
        "type": "event",
        "posture": "Proactive",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)},
        "for_each": ["prefect.resource.id"],
        "after": [f"prefect.flow-run.{name}" for name in after],
        "expect": [f"prefect.flow-run.{name}" for name in expect],
        "threshold": 1,
        "within": seconds,
    }


def install(api: Api, windows: Windows) -> dict[str, Change]:
    """Bring the server's rules to these settings; repeating it changes nothing.

    Returns: what was done, by the rule's name.
    Raises: ServerError.
    """
    return {rule["name"]: _settle(api, rule) for rule in rules(windows)}


def _settle(api: Api, rule: Rule) -> Change:
    wanted = {"automations": {"name": {"any_": [rule["name"]]}}}
    there: list[Rule] = api.ask("POST", "/automations/filter", wanted)
    for twin in there[1:]:
        api.tell("DELETE", f"/automations/{twin['id']}")
    if not there:
        api.ask("POST", "/automations/", rule)
        return "created"
    if _says(there[0], rule):
        return "unchanged"
    api.tell("PUT", f"/automations/{there[0]['id']}", rule)
    return "updated"


def _says(there: object, wanted: object) -> bool:
    """Whether what the server has says the same; it adds numbers and defaults, and keeps no order in sets."""
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return all(key in there and _says(there[key], value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        if all(isinstance(item, str) for item in wanted):
            return sorted(wanted) == sorted(map(str, there))
        return all(_says(one, other) for one, other in zip(there, wanted, strict=True))
    return there == wanted
