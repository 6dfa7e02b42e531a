from __future__ import annotations

import warnings
from pathlib import Path

import lpips as reference
import numpy as np
import pytest
import torch
from torchmetrics.functional.image.lpips import _LPIPS

from model.errors import CorruptInputError
from model.metrics.extractors.base import PairDistance
from model.metrics.extractors.catalogue import open_instrument
from model.metrics.extractors.lpips import Lpips
from tests.metrics.extractors.nets import pictures

HEADS = Path(reference.__file__).parent / "weights" / "v0.1"


def trunk_of(kind: str, path: Path) -> tuple[torch.nn.Module, Path]:
    """The oracle with a random trunk, and that trunk in torchvision's names."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision's old keyword
        oracle = reference.LPIPS(net=kind, pnet_rand=True, verbose=False).eval()
    torch.save({f"features.{key.split('.', 1)[1]}": value for key, value in oracle.net.state_dict().items()}, path)
    return oracle, path


def as_signed(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["alex", "vgg"])
def test_distances_are_those_of_the_package_and_of_torchmetrics(tmp_path: Path, kind: str) -> None:
    oracle, trunk = trunk_of(kind, tmp_path / "trunk.pth")
    names = {"alex": ("alexnet", "lpips_alex"), "vgg": ("vgg16", "lpips_vgg")}[kind]
    ours = open_instrument(f"lpips_{kind}", dict(zip(names, (trunk, HEADS / f"{kind}.pth"), strict=True)))
    assert isinstance(ours, PairDistance)
    first, second = pictures(3, seed=1), pictures(3, seed=2)
    port = _LPIPS(pretrained=True, net=kind, pnet_rand=True, eval_mode=True)
    port.net.load_state_dict(oracle.net.state_dict())
    with torch.inference_mode():
        theirs = oracle(as_signed(first), as_signed(second)).flatten().numpy()
        ported = port(as_signed(first), as_signed(second)).flatten().numpy()
    distances = ours(first, second)
    assert distances.dtype == np.float64
    assert distances == pytest.approx(theirs, abs=1e-6)
    assert distances == pytest.approx(ported, abs=1e-6)
    assert distances.min() > 1e-3
    assert ours(first, first).tolist() == [0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def alex(tmp_path_factory: pytest.TempPathFactory) -> Lpips:
    _, trunk = trunk_of("alex", tmp_path_factory.mktemp("weights") / "trunk.pth")
    opened = open_instrument("lpips_alex", {"alexnet": trunk, "lpips_alex": HEADS / "alex.pth"})
    assert isinstance(opened, Lpips)
    return opened


def test_a_pairs_distance_does_not_depend_on_its_company_and_has_no_direction(alex: Lpips) -> None:
    first, second = pictures(64, 32, 1), pictures(64, 32, 2)
    whole = alex(first, second)
    assert np.array_equal(alex(first[:1], second[:1]), whole[:1])
    assert np.array_equal(alex(first[20:27], second[20:27]), whole[20:27])
    assert alex(second, first) == pytest.approx(whole, abs=1e-7)


def test_the_name_changes_with_either_file(tmp_path: Path, alex: Lpips) -> None:
    torch.manual_seed(1)
    other = {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate((64, 192, 384, 256, 256))}
    torch.save(other, tmp_path / "heads.pth")
    _, trunk = trunk_of("alex", tmp_path / "trunk.pth")
    opened = open_instrument("lpips_alex", {"alexnet": trunk, "lpips_alex": tmp_path / "heads.pth"})
    assert opened.name != alex.name
    assert opened.name == f"lpips_alex-{opened.weights_sha256[:8]}"


def test_floats_other_sizes_and_tiny_pictures_are_refused(alex: Lpips) -> None:
    images = pictures(1)
    with pytest.raises(ValueError, match="uint8"):
        alex(images / 255.0, images / 255.0)  # type: ignore[arg-type]
    for first, second in ((images, pictures(1, 32)), (images, pictures(2)), (pictures(1, 16), pictures(1, 16))):
        with pytest.raises(ValueError, match="expected pairs of one size, 32 px or more"):
            alex(first, second)


def test_heads_of_another_trunk_are_refused(tmp_path: Path) -> None:
    _, trunk = trunk_of("alex", tmp_path / "trunk.pth")
    with pytest.raises(CorruptInputError, match=r"vgg\.pth: does not hold weights of the heads of lpips_alex"):
        open_instrument("lpips_alex", {"alexnet": trunk, "lpips_alex": HEADS / "vgg.pth"})
    with pytest.raises(CorruptInputError, match=r"trunk\.pth: does not hold weights of vgg16"):
        open_instrument("lpips_vgg", {"vgg16": trunk, "lpips_vgg": HEADS / "vgg.pth"})
