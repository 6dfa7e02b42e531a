"""The self-test's plumbing, with stand-ins of everything it fetches; the published figures need the real files."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from model.checkpoint.rosinality import write_rosinality
from model.errors import CorruptInputError, MissingInputError
from model.metrics.frechet import frechet_distance
from stages.selftest import cifar, ffhq, lpips, shipped
from stages.selftest.__main__ import main
from stages.selftest.check import Check, NotRun, within
from tests.metrics.extractors.nets import inception_file, pictures
from tests.metrics.extractors.test_lpips import HEADS, as_signed, trunk_of
from tests.tiny import tiny_networks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COUNT = 8


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins under the names of the real files, as a server has them."""
    folder = tmp_path_factory.mktemp("store")
    inception_file(folder / "inception.pth")
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as packed:
        for name, content in records().items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    trunk_of("alex", folder / "alexnet.pth")
    (folder / "heads.pth").write_bytes((HEADS / "alex.pth").read_bytes())
    write_rosinality(folder / "ffhq.pt", tiny_networks(0).generator)
    return folder


def records() -> dict[str, bytes]:
    """Eight images on either side, and one more that is not to be read."""
    rng = np.random.default_rng(0)
    made = {}
    for name, seed in (("data_batch_1.bin", 1), ("test_batch.bin", 2)):
        planes = pictures(COUNT + 1, 32, seed).transpose(0, 3, 1, 2).reshape(COUNT + 1, -1)
        made[name] = np.column_stack([rng.integers(0, 10, COUNT + 1, dtype=np.uint8), planes]).tobytes()
    return made


@pytest.fixture
def project(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose lock points to a server on this machine; the self-test reads eight images."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(store))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    files = {
        "inception_2015": "inception.pth", "cifar10_binary": "cifar.tar.gz", "alexnet": "alexnet.pth",
        "lpips_alex": "heads.pth", "ffhq256": "ffhq.pt",
    }  # fmt: skip
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}"
        entries = {
            name: {
                "file": f"weights/{file}", "addresses": [f"http://{place}/{file}"], "bytes": None, "sha256": None,
                "licence": "none", "about": "a stand-in",
            }
            for name, file in files.items()
        }  # fmt: skip
        with (tmp_path / "weights.lock.yaml").open("w") as lock:
            YAML().dump({"weights": entries}, lock)
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", place)
        monkeypatch.delenv("CARTOON_OFFLINE", raising=False)
        monkeypatch.chdir(tmp_path)
        for module in (cifar, ffhq):
            monkeypatch.setattr(module, "COUNT", COUNT)
        yield tmp_path
        server.shutdown()


def lines(output: str) -> dict[str, str]:
    """State by check."""
    return {line[8:].split(":")[0]: line[:8].strip() for line in output.splitlines() if ":" in line}


def cifar_by_torch_fidelity(store: Path) -> float:
    network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(store / "inception.pth"))
    features = []
    for content in records().values():
        images = np.frombuffer(content, np.uint8).reshape(COUNT + 1, -1)[:COUNT, 1:].reshape(COUNT, 3, 32, 32)
        with torch.inference_mode():
            features.append(network(torch.from_numpy(images.copy()))[0].numpy())
    return frechet_distance(*features)


def test_the_protocol_of_cifar_is_torch_fidelitys_from_the_archive_to_the_number(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = cifar_by_torch_fidelity(store)
    assert expected > 1
    monkeypatch.setattr(cifar, "FID", expected)
    monkeypatch.setattr(cifar, "TOLERANCE", 1e-3 * expected)
    assert main([]) == 0
    output = capsys.readouterr().out
    assert lines(output)["FID of CIFAR-10"] == "PASS"
    assert "fid of 8 against 8 by inception_legacy-" in output
    assert (project / "weights" / "cifar.tar.gz").is_file()


def test_another_number_fails_and_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project / "unpacked"
    folder.mkdir()
    for name, content in records().items():
        (folder / name).write_bytes(content)
    assert main(["--cifar", str(folder)]) == 4
    output = capsys.readouterr()
    assert lines(output.out)["FID of CIFAR-10"] == "FAIL"
    assert "expected 10.32323 to 10.32343" in output.out
    assert output.err == "error: 1 of 7 checks failed; metrics made here would not compare with others\n"
    assert not (project / "weights" / "cifar.tar.gz").exists()


def test_the_generators_check_draws_and_reads_photographs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, image in enumerate(pictures(COUNT + 1, 48)):
        (project / "photos" / str(index % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, 4:]).save(project / "photos" / str(index % 2) / f"{index:03}.png")
    monkeypatch.setattr(ffhq, "HIGHEST", 1e9)
    outcome = ffhq.check(project / "photos").outcome()
    assert outcome.state == "PASS", outcome.words
    assert "fid of 8 images by inception_legacy-" in outcome.words
    monkeypatch.setattr(ffhq, "COUNT", COUNT + 2)
    short = ffhq.check(project / "photos").outcome()
    assert (short.state, "found 9 pictures, expected 10" in short.words) == ("NOT RUN", True)


def test_lpips_compares_its_three_pictures(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(3, 64)
    for name, image in zip(lpips.FILES, images, strict=True):
        Image.fromarray(image).save(project / name)
    assert lpips.check(project).outcome().state == "FAIL"
    oracle, _ = trunk_of("alex", tmp_path / "trunk.pth")
    with torch.inference_mode():
        expected = [float(oracle(as_signed(images[:1]), as_signed(images[i : i + 1]))) for i in (1, 2)]
    monkeypatch.setattr(lpips, "EXPECTED", expected)
    assert lpips.check(project).outcome().state == "PASS"
    (project / lpips.FILES[1]).unlink()
    absent = lpips.check(project).outcome()
    assert (absent.state, "ex_p0.png: no such file" in absent.words) == ("NOT RUN", True)


def test_without_a_network_only_what_ships_is_checked_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "weights.lock.yaml").write_text((ROOT / "weights.lock.yaml").read_text())
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CARTOON_OFFLINE": "1"}
    command = [sys.executable, "-m", "pipeline.cli", "--root", str(tmp_path), "selftest"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(lines(done.stdout).values()) == ["PASS"] * 4 + ["NOT RUN"] * 3
    assert "weights import inception_2015 FILE" in done.stdout
    assert done.stdout.endswith("4 passed, 3 not run.\n")


def test_a_wrong_weight_file_is_a_failure_and_not_a_reason_to_skip(project: Path) -> None:
    (project / "weights").mkdir()
    (project / "weights" / "inception.pth").write_bytes(b"<html>")
    outcome = cifar.check(None).outcome()
    assert (outcome.state, "not a file of tensors" in outcome.words) == ("FAIL", True)


def test_networks_that_were_trained_anew_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "KNOWN", {})
    assert [check.outcome().state for check in shipped.checks()] == ["PASS", "NOT RUN", "NOT RUN", "PASS"]
    monkeypatch.undo()
    monkeypatch.setattr(shipped, "KNOWN", dict.fromkeys(shipped.KNOWN, 0.5))
    assert [check.outcome().state for check in shipped.checks()] == ["PASS", "FAIL", "FAIL", "PASS"]


def test_a_number_outside_its_interval_fails() -> None:
    outcomes = [
        Check("x", partial(within, "fid", found, 4.0, 5.0)).outcome() for found in (3.9, 4.0, 5.1, float("nan"))
    ]
    assert [outcome.state for outcome in outcomes] == ["FAIL", "PASS", "FAIL", "FAIL"]
    assert outcomes[0].words == "fid is 3.9, expected 4 to 5"


def test_a_bug_in_a_check_is_not_hidden() -> None:
    def broken() -> tuple[bool, str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Check("x", broken).outcome()

    def absent() -> tuple[bool, str]:
        raise NotRun("because")

    assert Check("x", absent).outcome().words == "because"


def packed_with(path: Path, name: str, kind: bytes, size: int) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for member in ("data_batch_1.bin", "test_batch.bin"):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name or member}")
            info.type, info.size, info.linkname = kind, size, "/etc/passwd"
            packed.addfile(info, io.BytesIO(bytes(size)))
    return path


def test_archives_that_are_not_the_binary_version_are_refused_and_nothing_is_unpacked(tmp_path: Path) -> None:
    before = {
        "it": packed_with(tmp_path / "a", "data_batch_1", tarfile.REGTYPE, 10),  # the pickled version's name
        "plain file": packed_with(tmp_path / "b", "", tarfile.SYMTYPE, 0),
        "records": packed_with(tmp_path / "c", "", tarfile.REGTYPE, 10),
    }
    for archive in before.values():
        with pytest.raises(CorruptInputError):
            cifar.read_images(archive)
    (tmp_path / "d").write_bytes(b"not gzip")
    with pytest.raises(CorruptInputError, match="not the binary version of CIFAR-10"):
        cifar.read_images(tmp_path / "d")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "d"]
    with pytest.raises(MissingInputError, match="the binary version, not the Python one"):
        cifar.read_images(tmp_path)


def test_labels_say_whether_it_is_cifar_10(tmp_path: Path) -> None:
    for name in (cifar.TRAIN, cifar.TEST):
        (tmp_path / name).write_bytes(bytes([200]) * (cifar.COUNT * cifar.RECORD))
    with pytest.raises(CorruptInputError, match="a label is 200, expected 0 to 9"):
        cifar.read_images(tmp_path)
