from __future__ import annotations

import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from model.metrics.extractors import resize
from tests.metrics.extractors.nets import pictures


@pytest.mark.parametrize("size", [32, 256, 300, 512])
def test_the_clean_resize_is_clean_fids_to_the_last_bit(size: int) -> None:
    images = np.concatenate(
        [pictures(1, size), np.random.default_rng(1).integers(0, 256, (1, size, size, 3), np.uint8)]
    )
    theirs = np.stack([build_resizer("clean")(image) for image in images])
    assert np.array_equal(resize.clean(images, 299), theirs.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("size", [32, 256, 299, 512])
def test_the_legacy_resize_is_tensorflows_to_the_last_bit(size: int) -> None:
    images = pictures(2, 4 * size // 4)[:, :size, :size]
    planes = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float()
    theirs = interpolate_bilinear_2d_like_tensorflow1x(planes, size=(299, 299), align_corners=False)
    assert torch.equal(resize.tensorflow(images, 299), theirs)


def test_pillows_resize_gives_bytes() -> None:
    images = pictures(2, 256)
    small = resize.pillow(images, 224)
    assert (small.shape, small.dtype) == ((2, 224, 224, 3), np.uint8)
    assert np.array_equal(small[1], np.asarray(Image.fromarray(images[1]).resize((224, 224), Image.Resampling.BICUBIC)))
