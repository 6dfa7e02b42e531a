"""Every measuring network that params.yaml can name: what weights it needs, and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from model.errors import UsageError
from model.metrics.extractors.base import Instrument

# patches measure features too; attributes read faces and measure both
Role = Literal["features", "patches", "distance", "identity", "attributes"]


@dataclass(frozen=True)
class Kind:
    """A kind of measuring network."""

    role: Role
    needs: tuple[str, ...]  # names in weights.lock.yaml; none for what ships here
    module: str
    opener: str  # function of the module: paths of the weights, in the order of ``needs`` -> the instrument


_HERE = "model.metrics.extractors"
KINDS: dict[str, Kind] = {
    "stylenet": Kind("features", (), f"{_HERE}.shipped", "open_style_net"),
    "attributenet": Kind("attributes", (), f"{_HERE}.shipped", "open_attribute_net"),
    "inception": Kind("features", ("inception_2015",), f"{_HERE}.inception", "open_inception"),
    "inception_legacy": Kind("features", ("inception_2015",), f"{_HERE}.inception", "open_inception_legacy"),
    "dinov2_l14": Kind("patches", ("dinov2_l14",), f"{_HERE}.vit", "open_dinov2_l14"),
    "dinov2_b14": Kind("patches", ("dinov2_b14",), f"{_HERE}.vit", "open_dinov2_b14"),
    "clip_l14": Kind("patches", ("clip_l14_336",), f"{_HERE}.vit", "open_clip_l14"),
    "lpips_vgg": Kind("distance", ("vgg16", "lpips_vgg"), f"{_HERE}.lpips", "open_lpips_vgg"),
    "lpips_alex": Kind("distance", ("alexnet", "lpips_alex"), f"{_HERE}.lpips", "open_lpips_alex"),
    "arcface": Kind("identity", ("mobilefacenet", "yunet"), f"{_HERE}.identity", "open_arcface"),
}


def kind_of(name: str) -> Kind:
    """Return what a name means; UsageError listing those there are."""
    if name not in KINDS:
        raise UsageError(f"no measuring network called {name!r}; there are: {', '.join(KINDS)}")
    return KINDS[name]


def open_instrument(name: str, weights: Mapping[str, Path]) -> Instrument:
    """Load a measuring network from checked files; its module, and torchvision or timm, are imported only now.

    Args:
        name: a key of :data:`KINDS`.
        weights: name in weights.lock.yaml -> file.

    Raises: UsageError for an unknown name; CorruptInputError for a file that does not hold such weights.
    """
    kind = kind_of(name)
    opened: Instrument = getattr(import_module(kind.module), kind.opener)(*(weights[need] for need in kind.needs))
    return opened
