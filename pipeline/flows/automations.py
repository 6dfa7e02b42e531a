"""Two rules that Prefect's server carries out, because a run whose machine has died cannot say so itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

FLOWS = ("stages", "reproduce", "watch")  # whose runs are watched; other flows of a shared server are not ours to judge
_PREFIX = "cartoon-pipeline: "
_SECOND = "Set up by `cartoon-pipeline deploy`, which also brings it up to date."
_BEAT = "prefect.flow-run.heartbeat"
_ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
_STARTS = {"prefect.flow-run.Running"}
_RETURNS = {f"prefect.flow-run.{state}" for state in ("Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry")}

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class Windows:
    """How long silence lasts before the server takes a run for dead."""

    silent_s: float  # s without a heartbeat; at least three heartbeats, or a slow machine looks like a dead one
    start_s: float  # s from being claimed to running; longer than the slowest start


def automations(windows: Windows) -> list[Automation]:
    """Return the two rules: silent runs have crashed, claimed runs that do not start have crashed."""
    return [
        _rule(
            "no heartbeat",
            f"A run that gives no sign of life for {windows.silent_s:.0f} s has lost its machine and is called crashed, "
            "so that another agent gets its work.",
            (_BEAT, {_BEAT} | _ENDS, windows.silent_s),
            f"No heartbeat for {windows.silent_s:.0f} s: its machine is gone",
        ),
        _rule(
            "not started",
            f"A run that a worker has taken and not started within {windows.start_s:.0f} s is called crashed; it would "
            "hold its pool's place for ever.",
            ("prefect.flow-run.Pending", _STARTS | _RETURNS | _ENDS, windows.start_s),
            f"Taken by a worker, but not started within {windows.start_s:.0f} s: the worker is gone",
        ),
    ]


def _rule(name: str, about: str, silence: tuple[str, set[str], float], message: str) -> Automation:
    after, expect, seconds = silence
    return Automation(
        name=_PREFIX + name,
        description=f"{about} {_SECOND}",
        enabled=True,
        trigger=EventTrigger(
            after={after},
            expect=expect,
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def install(client: SyncPrefectClient, windows: Windows) -> dict[str, Change]:
    """Bring the server's rules to these settings; repeating it changes nothing.

    Returns: what was done, by the rule's name.
    """
    return {rule.name: _settle(client, rule) for rule in automations(windows)}


def _settle(client: SyncPrefectClient, rule: Automation) -> Change:
    there = client.read_automations_by_name(rule.name)
    for twin in there[1:]:
        assert twin.id is not None
        client.delete_automation(twin.id)
    if not there:
        client.create_automation(rule)
        return "created"
    if _settings(there[0]) == _settings(rule):
        return "unchanged"
    client.update_automation(there[0].id, rule)
    return "updated"


def _settings(rule: Automation) -> object:
    """Return what the rule does, without the numbers that the server gives."""
    trigger = rule.trigger.model_dump(mode="json", exclude={"id"})
    lists = {name: sorted(value) if isinstance(value, list) else value for name, value in trigger.items()}
    actions = [action.model_dump(mode="json") for action in rule.actions]
    return rule.description, rule.enabled, lists, actions
