"""DVC stage ``pretrained``: the source generator and discriminator, checked and in our format."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from model.checkpoint.foreign import NATIVE, read_networks
from model.checkpoint.native import save_networks
from model.errors import MissingInputError, UsageError
from model.files import publish_folder, sha256_file
from model.shipped import shipped
from pipeline.params import read_section
from stages.entry import run
from stages.fetch.weights import ensure


@dataclass(frozen=True)
class PretrainedParams:
    """Section ``pretrained``: which weights every training starts from."""

    weights: str  # asset:NAME (ships here), lock:NAME (weights.lock.yaml) or a file (.safetensors, .pt or .pkl)
    sha256: str  # of the file; "" accepts any content (an asset is always checked)
    resolution: int  # px the weights must have
    licence: str  # under which the weights may be used


def pretrained(params: Path, out: Path) -> None:
    """Check the weights named by --params and write them to --out as networks.safetensors."""
    settings = read_section(params, "pretrained", PretrainedParams)
    path = _locate(settings.weights, f"{params}: pretrained.weights")
    digest = sha256_file(path)
    if settings.sha256 and digest != settings.sha256:
        raise UsageError(f"{path}: sha256 is {digest}, {params} says pretrained.sha256: {settings.sha256}; "
                         "fetch the right file, or correct the setting")  # fmt: skip
    generator, discriminator, notes = read_networks(path)
    if path.suffix == NATIVE:
        notes = {}  # the file's sha256 leads to its own
    if discriminator is None:
        raise UsageError(f"{path}: holds no discriminator, and fine-tuning starts from one; use a training checkpoint")
    if generator.config.resolution != settings.resolution:
        raise UsageError(f"{path}: a {generator.config.resolution} px model, "
                         f"{params} says pretrained.resolution: {settings.resolution}")  # fmt: skip
    provenance = {"weights": settings.weights, "sha256": digest, "licence": settings.licence, "notes": notes}
    with publish_folder(out, {"architecture": asdict(generator.config)}) as folder:
        save_networks(
            folder / "networks.safetensors", generator=generator, discriminator=discriminator, provenance=provenance
        )


def _locate(weights: str, where: str) -> Path:
    if weights.startswith("asset:"):
        return shipped(weights.removeprefix("asset:"))
    if weights.startswith("lock:"):
        return ensure(weights.removeprefix("lock:"))
    path = Path(weights)
    if not path.is_file():
        raise MissingInputError(
            f"{where}: {path} does not exist; put it there, or name another file, or lock:NAME for one of those that "
            "`cartoon-pipeline weights list` shows"
        )
    return path


if __name__ == "__main__":
    run(pretrained)
