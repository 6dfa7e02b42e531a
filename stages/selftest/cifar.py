"""FID of CIFAR-10's own images: a number that torch-fidelity pins in its tests, with TensorFlow's as its oracle.

Protocol: the first 5,000 training images against the first 5,000 test images, in the order of the files, at 32 px,
enlarged as TensorFlow 1 did. Source: toshas/torch-fidelity, tests/tf1/numerical_precision/test_metric_fid_fidelity.py
and utils/util_dump_dataset_as_images.py.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from model.errors import CorruptInputError, MissingInputError
from model.metrics.extractors.base import Images
from model.metrics.extractors.inception import Inception, open_inception_legacy
from model.metrics.frechet import frechet_distance
from model.progress import track
from stages.fetch.weights import ensure
from stages.selftest.check import Check, within

FID, TOLERANCE = 10.3233274, 1e-4
COUNT = 5000  # images of either side
SIDE = 32  # px
RECORD = 1 + 3 * SIDE * SIDE  # bytes: a label, then the planes
FOLDER, TRAIN, TEST = "cifar-10-batches-bin", "data_batch_1.bin", "test_batch.bin"
ARCHIVE = "cifar-10-binary.tar.gz"
CHUNK = 250  # images between two signs of life
LARGEST = 10_000 * RECORD  # bytes of a file; the published ones have as many


def check(folder: Path | None) -> Check:
    """Return the check; ``folder`` holds the binary version of CIFAR-10, packed or not; None fetches it."""
    return Check("FID of CIFAR-10", lambda: _compare(folder))


def _compare(folder: Path | None) -> tuple[bool, str]:
    if folder is not None:
        train, test = read_images(folder)  # a wrong folder is told before anything is fetched
    extractor = open_inception_legacy(ensure("inception_2015"))
    if folder is None:
        train, test = read_images(ensure("cifar10_binary"))
    fid = frechet_distance(_features(extractor, train), _features(extractor, test))
    return within(f"fid of {len(train)} against {len(test)} by {extractor.name}", fid, FID - TOLERANCE, FID + TOLERANCE)


def read_images(place: Path) -> tuple[Images, Images]:
    """Read the first training and the first test images of the *binary* version: plain bytes, nothing is unpickled.

    Args:
        place: the archive, or a folder with it, or with what is in it.

    Returns: two uint8 ``[5000, 32, 32, 3]``.
    Raises: MissingInputError, CorruptInputError.
    """
    for folder in (place, place / FOLDER):
        if (folder / TRAIN).is_file() and (folder / TEST).is_file():
            train, test = (_head(folder / name) for name in (TRAIN, TEST))
            return _images(train, folder / TRAIN), _images(test, folder / TEST)
    archive = place / ARCHIVE if place.is_dir() else place
    if not archive.is_file():
        raise MissingInputError(
            f"{place}: neither {ARCHIVE} nor {TRAIN} and {TEST} in it; "
            "get https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (the binary version, not the Python one)"
        )
    try:
        with tarfile.open(archive, "r:gz") as packed:
            train, test = (_member(packed, f"{FOLDER}/{name}") for name in (TRAIN, TEST))
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise CorruptInputError(f"{archive}: not the binary version of CIFAR-10 ({error}); get it again") from error
    return _images(train, archive / TRAIN), _images(test, archive / TEST)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(COUNT * RECORD)


def _member(packed: tarfile.TarFile, name: str) -> bytes:
    """Read the beginning of a member where it lies: nothing of an archive becomes a path."""
    info = packed.getmember(name)
    file = packed.extractfile(info) if info.isreg() and info.size <= LARGEST else None
    if file is None:
        raise KeyError(f"{name} is no plain file of at most {LARGEST} bytes")
    return file.read(COUNT * RECORD)


def _images(content: bytes, where: Path) -> Images:
    records = np.frombuffer(content, np.uint8)
    if len(records) != COUNT * RECORD:
        raise CorruptInputError(f"{where}: found {len(content)} bytes, expected {COUNT} records of {RECORD}")
    planes = records.reshape(COUNT, RECORD)
    if planes[:, 0].max() > 9:
        raise CorruptInputError(f"{where}: a label is {planes[:, 0].max()}, expected 0 to 9; is it CIFAR-10's?")
    return np.ascontiguousarray(planes[:, 1:].reshape(COUNT, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def _features(extractor: Inception, images: Images) -> np.ndarray:
    parts = track(range(0, len(images), CHUNK), "CIFAR-10", unit=f"x {CHUNK} images")
    return np.concatenate([extractor(images[start : start + CHUNK]) for start in parts])
