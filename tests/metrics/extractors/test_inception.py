from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_fid.inception
import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from model.errors import CorruptInputError, MissingInputError
from model.files import sha256_file
from model.metrics.extractors.base import FeatureExtractor
from model.metrics.extractors.catalogue import open_instrument
from model.metrics.extractors.inception import clean, load_net, open_inception, open_inception_legacy, tensorflow
from tests.metrics.extractors.nets import inception_file, pictures

FOLDING = 1e-4  # of the largest feature: what putting the normalisation into the weights changes by rounding


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inception_file(tmp_path_factory.mktemp("weights") / "inception.pth")


@pytest.fixture(scope="module")
def reference(weights: Path) -> nn.Module:
    """pytorch-fid's network with the same weights."""
    with pytest.MonkeyPatch.context() as patch:
        given = torch.load(weights, weights_only=True)
        patch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *_, **__: given)
        return pytorch_fid.inception.InceptionV3(resize_input=False, normalize_input=False).eval()


def test_without_folding_the_features_are_pytorch_fids_to_the_last_bit(weights: Path, reference: nn.Module) -> None:
    images = clean(pictures(2, 64, seed=1))
    with torch.inference_mode():
        theirs, ours = reference(images)[0].flatten(1), load_net(weights, fold=False)(images)
    assert torch.equal(ours, theirs)
    assert theirs.std(dim=0).mean() > 0.05  # they do spread


@pytest.mark.slow
def test_folding_is_as_far_from_exact_arithmetic_as_the_plain_form(weights: Path) -> None:
    images = pictures(2, 64, seed=1)
    plain = load_net(weights, fold=False)
    with torch.inference_mode():
        ours = plain(clean(images)).numpy()
        exact = plain.double()(clean(images).double()).numpy()
    folded = open_inception(weights)(images)
    assert np.linalg.norm(folded - exact) < 2 * np.linalg.norm(ours - exact)
    assert 0 < np.abs(folded - ours).max() < FOLDING * ours.max()


@pytest.mark.slow
def test_the_legacy_features_are_torch_fidelitys(weights: Path) -> None:
    images = pictures(2, 32, seed=2)
    theirs = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(weights))
    with torch.inference_mode():
        (features,) = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        assert torch.equal(load_net(weights, fold=False)(tensorflow(images)), features)
    ours = open_inception_legacy(weights)(images)
    assert np.abs(ours - features.numpy()).max() < FOLDING * features.max()


def test_it_is_named_after_its_weights_and_what_it_does_first(weights: Path) -> None:
    first, legacy = (open_instrument(n, {"inception_2015": weights}) for n in ("inception", "inception_legacy"))
    assert isinstance(first, FeatureExtractor)
    digest = sha256_file(weights)
    assert (first.name, first.weights_sha256) == (f"inception-{digest[:8]}", digest)
    assert legacy.name == f"inception_legacy-{digest[:8]}"
    assert (first.preprocess_id, legacy.preprocess_id) == ("clean-299-v1", "tensorflow-299-v1")


@pytest.mark.slow
def test_features_of_an_image_do_not_depend_on_its_company(weights: Path) -> None:
    extractor, images = open_inception(weights), pictures(64, 32)
    whole = extractor(images)
    assert (whole.shape, whole.dtype) == ((64, 2048), np.float32)
    assert np.array_equal(np.concatenate([extractor(images[i : i + 7]) for i in range(0, 21, 7)]), whole[:21])
    assert np.array_equal(extractor(images[63:]), whole[63:])


def test_nothing_of_the_process_is_left_changed(weights: Path) -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
        random = torch.random.get_rng_state()
        open_inception(weights)(pictures(1, 32))
        assert torch.get_float32_matmul_precision() == "medium"
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark) == before
        assert torch.equal(torch.random.get_rng_state(), random)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "Conv2d_1a_3x3.bn.bias missing"),
        ("unknown", "Mixed_9z.weight unknown"),
        ("shape", r"Conv2d_1a_3x3.bn.bias is \[3\], expected \[32\]"),
        ("nan", "Conv2d_1a_3x3.bn.bias has values that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, weights: Path, damage: str, message: str) -> None:
    state, key = torch.load(weights, weights_only=True), "Conv2d_1a_3x3.bn.bias"
    if damage == "missing":
        del state[key]
    elif damage == "unknown":
        state["Mixed_9z.weight"] = torch.zeros(1)
    else:
        state[key] = torch.zeros(3) if damage == "shape" else torch.full((32,), torch.nan)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CorruptInputError, match=rf"x\.pth: does not hold weights of Inception 2015: .*{message}"):
        load_net(tmp_path / "x.pth")


def test_files_that_are_no_weights_are_refused_and_nothing_in_them_runs(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(MissingInputError, match=r"x\.pth: no such file, expected weights of Inception 2015"):
        load_net(path)
    for content in (b"", b"<html>", b"\x80\x02cos\nsystem\n(S'touch ran'\ntR.", b"PK\x03\x04 truncated"):
        path.write_bytes(content)
        with pytest.raises(CorruptInputError, match=r"x\.pth: not a file of tensors"):
            load_net(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(CorruptInputError, match="holds no tensors by name"):
        load_net(path)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 8, 9, 3), (1, 3, 8, 8), (8, 8, 3)])
def test_pictures_of_another_form_are_refused(weights: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected square uint8 images"):
        open_inception(weights)(np.zeros(shape, dtype=np.uint8))
