"""The exact state of a training on disk: resuming it ends bit for bit where an uninterrupted run ends (on a CPU).

Random numbers are pure functions of (seed, purpose, iteration), so the state is: networks, optimisers, augmentation
controller, mean path length, sums since the last report, position.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from model.errors import CorruptInputError, DivergenceError, MissingInputError, UsageError
from model.files import atomic_write, atomic_write_json, publish_folder, verify_manifest
from model.training.trainer import Trainer

_NAME = re.compile(r"state-(\d{9})")


def save_state(scratch: Path, trainer: Trainer, identity: Mapping[str, Any], extra: Mapping[str, Any]) -> Path:
    """Write the state into ``scratch`` as one folder with a manifest; the state before it goes last.

    All processes of the training call; the first one writes.

    Args:
        scratch: folder of one training; outside DVC outs, which DVC deletes before a run.
        trainer: between two batches.
        identity: what the training is (plan, data, seed, settings); a resume with another identity is refused.
        extra: JSON the caller wants back.

    Raises: DivergenceError, writing nothing, if something in the state is not a finite number.
    """
    folder = scratch / f"state-{trainer.iteration:09d}"
    world = trainer.world
    trainer.means.fold(world)
    if trainer.ada is not None:
        trainer.ada.fold(world)
    tensors, scalars = _collect(trainer)
    broken = sorted(name for name, value in tensors.items() if not value.isfinite().all())
    if world.any(bool(broken), trainer.device):
        name = broken[0] if broken else "a tensor of another process"
        raise DivergenceError(f"training diverged before {trainer.kimg:.1f} kimg: {name} is not finite; not saved")
    if world.rank > 0:
        return folder
    with publish_folder(folder) as out:
        atomic_write(out / "tensors.safetensors", lambda file: file.write(safetensors.torch.save(tensors)))
        atomic_write_json(out / "state.json", {"scalars": scalars, "identity": identity, "extra": extra})
    verify_manifest(folder)  # the state before is deleted only after this one has been read back
    for old in _folders(scratch)[:-2]:
        shutil.rmtree(old)
    return folder


def load_state(scratch: Path, trainer: Trainer, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Load the newest state whose manifest verifies into ``trainer``.

    Returns: the saved ``extra``, or None if there is no usable state.
    Raises: UsageError showing the difference if the state belongs to another training.
    """
    for folder in reversed(_folders(scratch)):
        try:
            verify_manifest(folder)
        except (CorruptInputError, MissingInputError):
            continue  # half-written by a killed process: the one before it is whole
        saved = json.loads((folder / "state.json").read_text())
        wanted = json.loads(json.dumps(identity))
        if saved["identity"] != wanted:
            raise UsageError(
                f"{folder}: belongs to a training with other inputs ({_differences(saved['identity'], wanted)}); "
                f"take them back to continue it, or delete {scratch} to start over"
            )
        _restore(trainer, safetensors.torch.load_file(folder / "tensors.safetensors"), saved["scalars"])
        extra: dict[str, Any] = saved["extra"]
        return extra
    return None


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs, by dotted name: ``settings.batch: 8 then, 16 now``."""
    before, after = _flat(then), _flat(now)
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return "; ".join(f"{name}: {before.get(name)!r} then, {after.get(name)!r} now" for name in names)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _folders(scratch: Path) -> list[Path]:
    """Return the state folders, oldest first."""
    return sorted(p for p in scratch.glob("state-*") if p.is_dir() and _NAME.fullmatch(p.name))


def _collect(trainer: Trainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    nets = trainer.nets
    tensors = {"mean_path": trainer.mean_path}
    modules = {"generator": nets.generator, "discriminator": nets.discriminator, "ema": nets.ema}
    for prefix, module in modules.items():
        tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
    for prefix, optimizer in (("g_adam", trainer.g_optimizer), ("d_adam", trainer.d_optimizer)):
        for index, entry in optimizer.state_dict()["state"].items():
            tensors |= {f"{prefix}.{index}.{name}": value for name, value in entry.items()}
    tensors |= {f"sums.{name}": torch.as_tensor(value).cpu() for name, value in trainer.means.sums.items()}
    scalars = {
        "iteration": trainer.iteration,
        "counts": trainer.means.counts,
        "ada": trainer.ada.state_dict() if trainer.ada else None,
        "rollbacks": trainer.rollbacks,
        "cool_until": trainer.cool_until,
    }
    return {name: value.detach().contiguous().cpu().clone() for name, value in tensors.items()}, scalars


def _restore(trainer: Trainer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    nets = trainer.nets
    modules = {"generator": nets.generator, "discriminator": nets.discriminator, "ema": nets.ema}
    for prefix, module in modules.items():
        start = f"{prefix}."
        module.load_state_dict({name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)})
    for prefix, optimizer in (("g_adam", trainer.g_optimizer), ("d_adam", trainer.d_optimizer)):
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"{prefix}."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    trainer.mean_path.copy_(tensors["mean_path"])
    trainer.means.sums = {
        n.removeprefix("sums."): v.to(trainer.device) for n, v in tensors.items() if n.startswith("sums.")
    }
    trainer.means.counts = dict(scalars["counts"])
    first = trainer.world.rank == 0  # the sums are those of all processes: one goes on with them
    if not first:
        trainer.means.clear()
    trainer.iteration = scalars["iteration"]
    trainer.rollbacks, trainer.cool_until = scalars["rollbacks"], scalars["cool_until"]
    trainer.reals.forget()
    if trainer.ada is not None:
        empty = {} if first else {"sign_sum": 0.0, "count": 0}
        trainer.ada.load_state_dict(scalars["ada"] | empty)
