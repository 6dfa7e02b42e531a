"""DVC stage ``publish``: the two readable parts of the comparison, where git keeps them."""

from __future__ import annotations

from pathlib import Path

from model.errors import MissingInputError
from model.files import atomic_write
from stages.entry import run

PUBLISHED = ("table.md", "metrics.json")


def publish(data: Path, out: Path) -> None:
    """Copy the table and the metrics of the comparison in the folder --data to the folder --out, byte for byte.

    DVC neither caches nor exchanges what git keeps, nor the stage that writes it: so nothing else is done here.
    """
    for name in PUBLISHED:
        if not (data / name).is_file():
            raise MissingInputError(f"{data / name}: no such file; `dvc repro` makes it in the stage `compare`")
    for name in PUBLISHED:
        _copy(data / name, out / name)


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    atomic_write(target, lambda file: file.write(content))


if __name__ == "__main__":
    run(publish)
