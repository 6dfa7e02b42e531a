"""MLflow's clients of a process that dies in its n-th call, and a store to try them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient


class PowerCut(BaseException):
    """Nothing catches it on its way out, as nothing catches a kill."""


class Mortal:
    """A process that dies in its n-th call to the store: before that has carried it out, or before it has said so.

    It makes clients as ``MlflowClient`` does.
    """

    def __init__(self, last: int, carried_out: bool) -> None:
        self.calls = 0
        self._last, self._carried_out = last, carried_out

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.watch(MlflowClient(*args, **kwargs))

    def watch(self, client: MlflowClient) -> Any:
        """A client of this process."""
        return _Watched(self, client)

    def call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self._last and not self._carried_out:
            raise PowerCut
        result = method(*args, **kwargs)
        if self.calls == self._last:
            raise PowerCut
        return result


class _Watched:
    def __init__(self, life: Mortal, client: MlflowClient) -> None:
        self._life, self._client = life, client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._life.call(method, *args, **kwargs)


def make_store(folder: Path) -> Path:
    """A SQLite file whose tables exist."""
    path = folder / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
