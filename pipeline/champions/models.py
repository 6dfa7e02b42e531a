"""One registered model in MLflow: its versions, the aliases ``champion`` and ``previous``, and their history.

Every move of the aliases is written down first, as a tag ``history.NNNN`` of the registered model, and carried out
then; the tag ``settled`` says how far. Whoever comes next finishes what a killed process has begun, and a move made by
hand in MLflow's pages is added to the history instead of being undone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.tracking import MlflowClient

CHAMPION, PREVIOUS = "champion", "previous"
SHA256 = "sha256"
_HISTORY = "history."
_SETTLED = "settled"


class RegistryError(Exception):
    """The registry cannot do what was asked."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


What = Literal["promoted", "reverted", "moved by hand"]


@dataclass(frozen=True)
class Move:
    """One change of the champion."""

    when: str  # ISO 8601, UTC
    what: What
    version: int  # the champion from then on
    before: int | None  # the champion until then
    why: str
    numbers: dict[str, Any] = field(default_factory=dict)  # of both, as they were compared


class Model:
    """A registered model and what happened to it."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self.name = name

    def exists(self) -> bool:
        """Whether anything was registered under this name."""
        return self._found() is not None

    def create(self, description: str, tags: Mapping[str, str]) -> None:
        """Register the name, once."""
        if not self.exists():
            self._client.create_registered_model(self.name, tags=dict(tags), description=description)

    def tag(self, key: str) -> str:
        """Return a tag of the model, or nothing."""
        found = self._found()
        return "" if found is None else str(found.tags.get(key, ""))

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the model."""
        self._client.set_registered_model_tag(self.name, key, value)

    def versions(self) -> list[ModelVersion]:
        """Return all versions, oldest first."""
        found: list[ModelVersion] = []
        token: str | None = None
        while True:
            page = self._client.search_model_versions(f"name = '{self.name}'", page_token=token)
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda version: int(version.version))

    def version(self, number: int) -> ModelVersion | None:
        """Return a version, or None."""
        return next((one for one in self.versions() if int(one.version) == number), None)

    def describe(self, version: int, text: str) -> None:
        """Say in MLflow's pages what a version is."""
        self._client.update_model_version(self.name, str(version), text)

    def mark(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, str(version), key, value)

    def unmark(self, version: int, key: str) -> None:
        """Remove a tag of a version."""
        self._client.delete_model_version_tag(self.name, str(version), key)

    def add(self, source: str, run_id: str, tags: Mapping[str, str], description: str) -> ModelVersion:
        """Add a version whose artifacts lie in a run; its tags come to be together with it."""
        return self._client.create_model_version(
            self.name, source, run_id, tags=dict(tags), description=description, await_creation_for=0
        )

    def alias(self, name: str) -> int | None:
        """Return the version an alias points at."""
        found = self._found()
        value = None if found is None else found.aliases.get(name)
        return None if value is None else int(value)

    def champion(self) -> ModelVersion | None:
        """Return the version that is champion, or None."""
        number = self.alias(CHAMPION)
        return None if number is None else self.version(number)

    def history(self) -> list[Move]:
        """Return every change of the champion, the first one first."""
        found = self._found()
        tags = {} if found is None else found.tags
        return [Move(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(_HISTORY)]

    def move(self, what: What, version: int, why: str, numbers: Mapping[str, Any]) -> None:
        """Make a version the champion, after writing down that it is."""
        self._record(what, version, self.alias(CHAMPION), why, numbers)
        self._carry_out()

    def settle(self) -> None:
        """Finish a move that was cut short, or write down one that was made by hand."""
        history = self.history()
        settled, champion = self.tag(_SETTLED), self.alias(CHAMPION)
        if history and settled != _number(len(history)):
            self._carry_out()
        elif champion is not None and (not history or history[-1].version != champion):
            before = history[-1].version if history else None
            self._record("moved by hand", champion, before, "the alias was set outside this program", {})
            self._carry_out()

    def _record(self, what: What, version: int, before: int | None, why: str, numbers: Mapping[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        move = Move(now, what, version, before, why, dict(numbers))
        self.set_tag(f"{_HISTORY}{_number(len(self.history()) + 1)}", json.dumps(asdict(move)))

    def _carry_out(self) -> None:
        """Let the aliases say what the last move says."""
        history = self.history()
        last = history[-1]
        if last.before is not None and last.before != last.version:
            self._point(PREVIOUS, last.before)
        self._point(CHAMPION, last.version)
        self.set_tag(_SETTLED, _number(len(history)))

    def _point(self, name: str, version: int) -> None:
        if self.alias(name) != version:
            self._client.set_registered_model_alias(self.name, name, str(version))

    def _found(self) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None


def _number(count: int) -> str:
    return f"{count:04d}"
