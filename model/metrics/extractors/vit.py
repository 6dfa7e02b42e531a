"""Vision transformers by timm: DINOv2, the encoder closest to human judgement, and CLIP's image tower.

Source: Oquab et al. 2023 (DINOv2); Radford et al. 2021 (CLIP); Stein et al. 2023 (dgm-eval) for FD-DINOv2's protocol;
Tumanyan et al. 2022 (Splice) for the keys of the last layer as a picture of structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.errors import CorruptInputError
from model.metrics.extractors import resize
from model.metrics.extractors.base import Floats, Images
from model.metrics.extractors.loading import built, digest, extra, fill, read_state
from model.metrics.extractors.running import best_device, in_batches

_Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Vit:
    """A transformer and what it was trained to see."""

    kind: str  # beginning of the name
    model: str  # of timm
    size: int  # px
    outputs: int  # numbers of a projection after the class token; 0 for the token itself, after the final norm
    mean: _Colour  # of RGB in [0, 1]
    std: _Colour


_IMAGENET: tuple[_Colour, _Colour] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OPENAI: tuple[_Colour, _Colour] = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

DINOV2_B14 = Vit("dinov2_b14", "vit_base_patch14_dinov2", 224, 0, *_IMAGENET)
DINOV2_L14 = Vit("dinov2_l14", "vit_large_patch14_dinov2", 224, 0, *_IMAGENET)
CLIP_L14 = Vit("clip_l14", "vit_large_patch14_clip_quickgelu_336", 336, 768, *_OPENAI)  # OpenAI's activation


class VitFeatures:
    """Features and patches of a transformer (a :class:`~model.metrics.extractors.base.PatchExtractor`).

    A feature is the class token after the final norm, for CLIP projected to the space it shares with text; it is not
    normalised. A patch is the key of the last layer's attention, all heads side by side.
    """

    def __init__(self, vit: Vit, net: Any, sha256: str) -> None:
        """Measure with a loaded network, which goes to the GPU if there is one."""
        self.name, self.weights_sha256 = f"{vit.kind}-{sha256[:8]}", sha256
        self.preprocess_id = f"pillow-bicubic-{vit.size}-{'clip' if vit.mean == _OPENAI[0] else 'imagenet'}-v1"
        self._vit, self._device = vit, best_device()
        self._net = net.to(self._device)
        self.dim = vit.outputs or int(self._net.num_features)

    def __call__(self, images: Images) -> Floats:
        """Uint8 ``[N, S, S, 3]`` -> float32 ``[N, dim]``."""
        return in_batches(images, self._prepare, self._net, self._device)

    def patches(self, images: Images) -> Floats:
        """Uint8 ``[N, S, S, 3]`` -> float32 ``[N, P, d]``, in rows: 16 x 16 places for DINOv2, 24 x 24 for CLIP."""
        return in_batches(images, self._prepare, self._keys, self._device)

    def _prepare(self, images: Images) -> Tensor:
        small = torch.from_numpy(resize.pillow(images, self._vit.size)).permute(0, 3, 1, 2).float() / 255.0
        mean, std = (torch.tensor(c).reshape(3, 1, 1) for c in (self._vit.mean, self._vit.std))
        return (small - mean) / std

    def _keys(self, images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = self._net.blocks[-1].attn.qkv.register_forward_hook(lambda _, __, out: seen.append(out))
        try:
            self._net.forward_features(images)
        finally:
            hook.remove()
        return seen[0].chunk(3, dim=-1)[1][:, self._net.num_prefix_tokens :]


def open_vit(vit: Vit, path: Path, **changes: int) -> VitFeatures:
    """Load a transformer.

    DINOv2 was trained at 518 px: timm interpolates its position embeddings to the size it is used at. timm also renames
    the tensors of Meta's and OpenAI's own files; what comes out must then fit exactly.

    Args:
        vit: which one.
        path: Meta's ``.pth``, open_clip's or timm's safetensors.
        changes: of timm's model, as ``depth=2`` for a small one.

    Raises: MissingInputError, CorruptInputError.
    """
    timm = extra("timm")
    net = built(lambda: timm.create_model(vit.model, img_size=vit.size, num_classes=vit.outputs, **changes))
    state = read_state(path, vit.kind)
    try:
        renamed: dict[str, Tensor] = extra("timm.models.vision_transformer").checkpoint_filter_fn(state, net)
    except (RuntimeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CorruptInputError(f"{path}: timm {timm.__version__} cannot read it as {vit.model} ({error})") from error
    fill(net, renamed, path, vit.kind)
    return VitFeatures(vit, net, digest(path))


def open_dinov2_b14(path: Path) -> VitFeatures:
    """Load DINOv2 ViT-B/14. Raises: as :func:`open_vit`."""
    return open_vit(DINOV2_B14, path)


def open_dinov2_l14(path: Path) -> VitFeatures:
    """Load DINOv2 ViT-L/14. Raises: as :func:`open_vit`."""
    return open_vit(DINOV2_L14, path)


def open_clip_l14(path: Path) -> VitFeatures:
    """Load CLIP ViT-L/14 at 336 px, the tower for images. Raises: as :func:`open_vit`."""
    return open_vit(CLIP_L14, path)
