"""How metrics, swaps and numbers are put to a reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from model.metrics.names import parse
from stages.comparing.likeness import SIMILARITY
from stages.comparing.words import TIMES, readable, swap_words

Better = Literal["lower", "higher", ""]
GATES = {"gate_memorisation": "memorisation", "gate_collapse": "collapse"}


@dataclass(frozen=True)
class Column:
    """How a family of metrics is shown. Without a better side it ranks nobody."""

    label: str
    better: Better
    digits: int
    hint: str


# In the order of the page's table; what is not here is in table.csv alone.
COLUMNS = {
    SIMILARITY: Column("similarity", "higher", 3, "1 is the same face, 0 somebody else's; mean of lifts"),
    "similarity_own": Column("similarity, own w", "higher", 3, "the same, by each method's own mapping network"),
    "kid_x1e3": Column(f"KID {TIMES}10³", "lower", 1, "kernel distance to the drawings trained on"),
    "fid": Column("FID", "lower", 1, "Fréchet distance to the drawings trained on; it depends on the number of images"),
    "kid_heldout_x1e3": Column(f"held-out KID {TIMES}10³", "lower", 1, "KID to drawings that no training saw"),
    "fid_heldout": Column("held-out FID", "lower", 1, "FID to drawings that no training saw; fewer, so higher"),
    "fid_gap": Column("FID gap", "", 1, "held-out FID less FID: large where training images are copied"),
    "kid_subset_x1e3": Column(f"subset KID {TIMES}10³", "lower", 1, "KID as mean over subsets, as other papers do it"),
    "precision": Column("precision", "higher", 3, "share of generated images that lie among the drawn ones"),
    "recall": Column("recall", "higher", 3, "share of drawn images that lie among the generated ones"),
    "density": Column("density", "higher", 3, "how densely drawn images surround the generated ones"),
    "coverage": Column("coverage", "higher", 3, "share of drawn images with a generated one nearby"),
    "landmark_nme": Column("landmark NME", "lower", 3, "distance of landmarks to the source's, in eye distances"),
    "attribute_mse": Column("attribute MSE", "lower", 3, "of attributes (pose, hair, mouth ...) read off both"),
    "cos": Column("cosine", "higher", 3, "of features of the cartoon and of the source"),
    "selfsim": Column("self-similarity distance", "lower", 4, "of what resembles what within the picture: structure"),
    "lpips": Column("LPIPS", "lower", 3, "perceptual distance to the source; it punishes the wanted change too"),
    "arcface_cos": Column("ArcFace cosine", "higher", 3, "identity as a network for photographs sees it"),
    "face_detect_rate": Column("faces found", "higher", 2, "share of pairs in which a detector finds both faces"),
    "retrieval_top1": Column("retrieval", "higher", 3, "share of cartoons whose source is found among all sources"),
    "edge_ssim": Column("edge SSIM", "higher", 3, "same lines in the same places, whatever the colours"),
    "lowres_rgb_mse_8": Column("8 px MSE", "lower", 4, "RGB difference at 8 px"),
    "lowres_rgb_mse_16": Column("16 px MSE", "lower", 4, "RGB difference at 16 px"),
    "lowres_rgb_mse_32": Column("32 px MSE", "lower", 4, "RGB difference at 32 px"),
    "variety": Column("variety", "", 2, "mean distance between generated images, over that between drawn ones"),
    "intra_distance": Column("intra-cluster distance", "higher", 3, "of generated images that resemble one drawing"),
    "intra_lpips": Column("intra-cluster LPIPS", "higher", 3, "of generated images that resemble one drawing"),
    "nn_ratio": Column("NN ratio", "", 2, "distance to the nearest training image, over that of held-out ones"),
    "copy_rate": Column("copy rate", "", 3, "share of images closer to a training image than drawings are"),
    "ppl": Column("PPL", "lower", 1, "perceptual path length: lower is smoother"),
}  # fmt: skip


def column(key: str) -> Column:
    """Return how a metric is shown, by its full name."""
    return COLUMNS.get(parse(key).family, Column(readable(key), "", 4, ""))


def measured_by(key: str) -> str:
    """Return number of images and extractor of a metric: ``n = 1k, stylenet-0123abcd``; empty for one without."""
    name = parse(key)
    return ", ".join([f"n = {name.n}"] * bool(name.n) + [name.extractor] * bool(name.extractor))


def blocks(kinds: Mapping[str, Any], kind: str, level: int) -> str:
    """Return what of the source is swapped in: ``weights up to 16 px``; ``no swap`` for nothing."""
    upside_down = dict(kinds.get(kind, {})).get("low", "source") != "source"
    return f"{readable(kind)} above {level} px" if upside_down and level else swap_words(kind, level)


def counted(count: int, one: str) -> str:
    """Return a count with its noun: ``1 seed``, ``3 seeds``, ``1,000 images``."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"
