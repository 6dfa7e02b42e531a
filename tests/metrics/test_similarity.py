from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from model.metrics.similarity import (
    attribute_correlation,
    attribute_mse,
    cosine,
    derangement,
    edge_ssim,
    edges,
    landmark_nme,
    lift,
    lowres_rgb_mse,
    retrieval_top1,
    self_similarity,
    selfsim,
    ssim,
)


def noise_images(seed: int, n: int = 3, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def disc(size: int, x: float, colour: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] / size
    inside = (rows - 0.5) ** 2 + (columns - x) ** 2 < 0.06
    return np.where(inside[..., None], np.uint8(colour), np.uint8(30))[None].astype(np.uint8)


@pytest.mark.parametrize("size", [11, 64, 100])
def test_ssim_equals_scikit_image(size: int) -> None:
    rng = np.random.default_rng(size)
    a, b = rng.random((2, 4, size, size))
    b = 0.6 * a + 0.4 * b
    ours = ssim(torch.from_numpy(a)[:, None], torch.from_numpy(b)[:, None])
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    assert ours == pytest.approx([structural_similarity(x, y, **settings) for x, y in zip(a, b, strict=True)], abs=1e-6)


def test_edge_ssim_sees_lines_and_not_colours() -> None:
    face, recoloured, moved = disc(64, 0.5), disc(64, 0.5, (250, 90, 40)), disc(64, 0.62)
    assert edge_ssim(face, face) == pytest.approx([1.0], abs=1e-12)
    assert edge_ssim(face, recoloured)[0] > 0.95
    assert edge_ssim(face, moved)[0] < 0.8


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_what_is_read_off_pixels_is_bit_equal_in_every_batch(batch: int) -> None:
    a, b = noise_images(0, 130), noise_images(1, 130)
    starts = range(0, 130, batch)
    for measure in (edge_ssim, lambda x, y: lowres_rgb_mse(x, y, 8), lambda x, y: lowres_rgb_mse(x, y, 32)):
        parts = [measure(a[i : i + batch], b[i : i + batch]) for i in starts]
        assert np.array_equal(np.concatenate(parts), measure(a, b))


def test_a_flat_image_has_no_edges() -> None:
    assert float(edges(np.full((1, 32, 32, 3), 90, np.uint8)).max()) == pytest.approx(0.0, abs=1e-3)


def test_lowres_rgb_mse_averages_areas_first() -> None:
    a = np.zeros((1, 16, 16, 3), np.uint8)
    board = a.copy()
    board[0, ::2, ::2] = board[0, 1::2, 1::2] = 255
    assert lowres_rgb_mse(a, board, 16) == pytest.approx([0.5])
    assert lowres_rgb_mse(a, board, 8) == pytest.approx([0.25])
    with pytest.raises(ValueError, match="16 x 16 px cannot be averaged to 5 px"):
        lowres_rgb_mse(a, board, 5)


def test_cosines_are_numpys_and_nothing_is_like_nothing() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 6, 5)).astype(np.float32)
    b[5] = 0.0
    expected = [float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)) for x, y in zip(a[:5], b[:5], strict=True)]
    assert cosine(a, b) == pytest.approx([*expected, 0.0], abs=1e-6)
    assert cosine(a, 3.0 * a) == pytest.approx(np.ones(6), abs=1e-12)


def test_retrieval_finds_each_source_among_all_and_takes_no_tie() -> None:
    rng = np.random.default_rng(1)
    source = rng.standard_normal((40, 8))
    drawn = source + 1.2 * rng.standard_normal((40, 8))
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (source, drawn)]
    expected = (unit[1] @ unit[0].T).argmax(axis=1) == np.arange(40)
    assert 0 < expected.sum() < 40
    assert retrieval_top1(source, drawn).tolist() == expected.astype(float).tolist()
    assert retrieval_top1(source, source).tolist() == [1.0] * 40
    source[1] = source[0]
    assert retrieval_top1(source, source).tolist() == [0.0, 0.0, *[1.0] * 38]
    assert retrieval_top1(source, np.ones((40, 8))).sum() <= 1.0


def test_self_similarity_distance_is_the_mean_over_the_whole_matrices() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 3, 6, 5)).astype(np.float32)
    b[2, 4] = 0.0

    def matrix(places: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(places, axis=1)
        with np.errstate(invalid="ignore"):
            cosines = np.nan_to_num(places @ places.T / np.outer(lengths, lengths))
        np.fill_diagonal(cosines, 1.0)
        return cosines

    expected = [((matrix(x) - matrix(y)) ** 2).mean() for x, y in zip(a, b, strict=True)]
    assert selfsim(self_similarity(a), self_similarity(b)) == pytest.approx(expected, rel=1e-5)
    assert selfsim(self_similarity(a), self_similarity(a)).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="at least 2 places"):
        self_similarity(a[:, :1])


def test_self_similarity_is_blind_to_what_turns_all_patches_alike_and_sees_what_moves() -> None:
    rng = np.random.default_rng(3)
    patches = rng.standard_normal((4, 9, 5))
    turn, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    kept = self_similarity(patches)
    assert selfsim(kept, self_similarity(2.0 * patches @ turn)) == pytest.approx(np.zeros(4), abs=1e-12)
    assert (selfsim(kept, self_similarity(patches[:, ::-1])) > 0.05).all()


def test_landmark_error_is_in_units_of_the_eye_distance_of_the_source() -> None:
    source = np.array([[[0.4, 0.5], [0.6, 0.5], [0.5, 0.8]]])
    target = source + np.array([0.1, 0.0])
    assert landmark_nme(source, target, eyes=(0, 1)) == pytest.approx([0.5])
    with pytest.raises(ValueError, match="pair 0: the two eyes"):
        landmark_nme(np.zeros((1, 3, 2)), target, eyes=(0, 1))


def test_attribute_scores_match_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50, 4))
    b[:, 0], b[:, 3] = -a[:, 0], 1.0
    correlation = attribute_correlation(a, b)
    assert correlation[0] == pytest.approx(-1.0)
    assert correlation[1] == pytest.approx(np.corrcoef(a[:, 1], b[:, 1])[0, 1])
    assert correlation[3] == 0.0
    assert attribute_mse(a, b).mean() == pytest.approx(((a - b) ** 2).mean())


@pytest.mark.parametrize("n", [2, 3, 1000])
def test_derangement_is_fixed_and_moves_everything(n: int) -> None:
    partners = derangement(n, seed=4)
    assert sorted(partners) == list(range(n))
    assert (partners != np.arange(n)).all()
    assert (partners == derangement(n, seed=4)).all()


def test_lift_is_zero_at_the_floor_and_one_at_perfect_in_both_directions() -> None:
    assert lift(0.7, 0.4, perfect=1.0) == pytest.approx(0.5)
    assert lift(0.5, 2.0, perfect=0.0) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="cannot tell pairs apart"):
        lift(0.5, 0.0, perfect=0.0)


def test_images_of_the_wrong_type_or_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        lowres_rgb_mse(np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3)), 8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same shape"):
        edge_ssim(noise_images(0, 2), noise_images(0, 3))
    with pytest.raises(ValueError, match="smaller than the SSIM window"):
        edge_ssim(noise_images(0, size=8), noise_images(1, size=8))
