"""The project's own weight files: one ``.safetensors`` with architecture and provenance, one manifest beside it.

``generator.safetensors`` holds the tensors of a generator (names ``generator.*``), a discriminator
(``discriminator.*``) or both. Its header has one JSON entry: format, architecture, provenance.
``generator.safetensors.json`` holds its sha256 and its size and is checked on every read, so that a flipped bit or a
truncated copy is found before the weights are used. Equal networks with equal provenance give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint.strict import Network, assemble, check_tensors, empty
from model.errors import CorruptInputError, DivergenceError, MissingInputError
from model.files import atomic_write, atomic_write_json
from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.generator import Generator, GeneratorConfig

FORMAT = 1
ENTRY = "cartoon"  # the one key of the safetensors metadata; several would be written in an order that changes
PARTS = {"generator": GeneratorConfig, "discriminator": DiscriminatorConfig}


@dataclass(frozen=True)
class Header:
    """What a weight file says about itself."""

    generator: GeneratorConfig | None
    discriminator: DiscriminatorConfig | None
    provenance: dict[str, Any]  # where the weights come from
    sha256: str  # of the whole file


def manifest_path(path: Path) -> Path:
    """Return the manifest beside the weight file ``path``."""
    return path.with_name(path.name + ".json")


def save_networks(
    path: Path,
    *,
    generator: Generator | None = None,
    discriminator: Discriminator | None = None,
    provenance: Mapping[str, Any],
) -> str:
    """Write one or both networks and the manifest beside them.

    Args:
        path: a name that ends in ``.safetensors``.
        generator: weights to keep, on any device, in any memory format.
        discriminator: weights to keep.
        provenance: where the weights come from; must survive JSON.

    Returns: the sha256 of the file, in hex.
    Raises: ValueError for another suffix, no network, weights that are not float32, or a provenance that is no JSON;
        DivergenceError naming a tensor that is not finite. Nothing is written then.
    """
    from safetensors.torch import save

    networks = {name: n for name, n in (("generator", generator), ("discriminator", discriminator)) if n is not None}
    if path.suffix != ".safetensors" or not networks:
        raise ValueError(f"{path}: expected a name ending in .safetensors and at least one network")
    tensors: dict[str, Tensor] = {}
    for part, network in networks.items():
        tensors |= {f"{part}.{name}": _storable(path, f"{part}.{name}", t) for name, t in network.state_dict().items()}
    header = {
        "format": FORMAT,
        "architecture": {part: asdict(network.config) for part, network in networks.items()},
        "provenance": dict(provenance),
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    data = save(tensors, metadata={ENTRY: text})
    digest = atomic_write(path, lambda file: file.write(data))
    atomic_write_json(manifest_path(path), {"format": FORMAT, "sha256": digest, "bytes": len(data)})
    return digest


def load_generator(path: Path, device: torch.device | str = "cpu") -> Generator:
    """Read the generator of a weight file, ready for use (``eval``).

    Raises: MissingInputError without the file, its manifest or a generator in it; CorruptInputError if the content
        differs from the manifest or a tensor does not fit the architecture.
    """
    header, tensors = _read(path)
    if header.generator is None:
        raise MissingInputError(f"{path}: holds no generator, only a discriminator; name the generator's file")
    return _load_into(empty(Generator, header.generator), "generator", path, tensors).to(device)


def load_discriminator(path: Path, device: torch.device | str = "cpu") -> Discriminator:
    """Read the discriminator of a weight file (``eval``); raises as :func:`load_generator`."""
    header, tensors = _read(path)
    if header.discriminator is None:
        raise MissingInputError(f"{path}: holds no discriminator, only a generator; name a file that has one")
    return _load_into(empty(Discriminator, header.discriminator), "discriminator", path, tensors).to(device)


def read_header(path: Path) -> Header:
    """Read what a weight file says about itself, checked against its manifest; raises as :func:`load_generator`."""
    data = _verified(path)
    return _header(path, data)


def _storable(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        raise ValueError(f"{path}: {name} is {tensor.dtype}, expected torch.float32; convert the network first")
    if not bool(torch.isfinite(tensor).all()):
        raise DivergenceError(
            f"{path}: not written, {name} has values that are not finite; go back to an earlier state"
        )
    return tensor.detach().to("cpu", memory_format=torch.contiguous_format).contiguous()


def _read(path: Path) -> tuple[Header, dict[str, Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = _verified(path)
    header = _header(path, data)
    try:
        return header, load(data)
    except SafetensorError as error:
        raise CorruptInputError(f"{path}: not a readable safetensors file ({error}); get it again") from error


def _verified(path: Path) -> bytes:
    """Return the content of ``path`` after comparing it with its manifest."""
    manifest = manifest_path(path)
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; expected a .safetensors weight file")
    if path.suffix == ".pt":
        raise CorruptInputError(
            f"{path}: a .pt file, expected .safetensors; run: cartoon convert {path} {path.with_suffix('.safetensors')}"
        )
    if not manifest.is_file():
        raise MissingInputError(
            f"{manifest}: missing, so {path.name} cannot be checked; copy it from where {path.name} came from, "
            "or convert the original weights again (cartoon convert)"
        )
    try:
        entry = json.loads(manifest.read_text(encoding="utf-8"))
        version, digest, size = entry["format"], entry["sha256"], entry["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptInputError(
            f"{manifest}: broken ({error!r}), expected format, sha256 and bytes; copy it again"
        ) from error
    if version != FORMAT:
        raise CorruptInputError(
            f"{manifest}: format {version!r}, this version reads {FORMAT}; update the program or convert again"
        )
    data = path.read_bytes()
    if len(data) != size:
        raise CorruptInputError(
            f"{path}: {len(data)} bytes, {manifest.name} says {size} (truncated or replaced); get it again"
        )
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise CorruptInputError(
            f"{path}: sha256 {found}, {manifest.name} says {digest} (damaged or edited); get it again"
        )
    return data


def _header(path: Path, data: bytes) -> Header:
    """Parse the JSON header: eight bytes of length, then text."""
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        header = json.loads(metadata[ENTRY])
        version = header["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptInputError(
            f"{path}: no '{ENTRY}' entry in its header, so this program did not write it; "
            "convert the original weights (cartoon convert)"
        ) from error
    if version != FORMAT:
        raise CorruptInputError(
            f"{path}: format {version!r}, this version reads {FORMAT}; update the program or convert again"
        )
    try:
        configs = {part: PARTS[part](**settings) for part, settings in header["architecture"].items()}
        provenance = dict(header["provenance"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptInputError(
            f"{path}: unreadable architecture in the header: {error}; convert the original weights again"
        ) from error
    return Header(
        generator=configs.get("generator"),
        discriminator=configs.get("discriminator"),
        provenance=provenance,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _load_into(network: Network, part: str, path: Path, tensors: Mapping[str, Tensor]) -> Network:
    prefix = f"{part}."
    found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_tensors(f"{path}: {part}", expected, found, _guess(network.config.resolution, found))
    return assemble(network, found)


def _guess(resolution: int, found: Mapping[str, Tensor]) -> str:
    sizes = [int(match.group(1)) for name in found if (match := re.search(r"blocks\.(\d+)\.", name))]
    if not sizes or max(sizes) == resolution:
        return ""
    return f"The tensors look like a {max(sizes)} px model, the header says {resolution} px"
