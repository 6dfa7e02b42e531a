from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

from model.errors import CorruptInputError
from model.metrics.extractors.base import PatchExtractor
from model.metrics.extractors.vit import CLIP_L14, DINOV2_B14, DINOV2_L14, Vit, VitFeatures, open_vit
from tests.metrics.extractors.nets import pictures

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 2}


def plain(vit: Vit, size: int, trained_at: int) -> tuple[VisionTransformer, dict[str, torch.Tensor]]:
    """timm's own model at ``size``, and its weights as they were trained at another size."""
    torch.manual_seed(0)
    trained = timm.create_model(vit.model, img_size=trained_at, num_classes=vit.outputs, **SMALL)
    for parameter in trained.parameters():  # LayerScale starts so small that blocks would hardly matter
        torch.nn.init.normal_(parameter, std=0.3)
    state = trained.state_dict()
    net = timm.create_model(vit.model, img_size=size, num_classes=vit.outputs, **SMALL)
    net.load_state_dict(checkpoint_filter_fn(dict(state), net))
    return net.eval(), state


def seen(vit: Vit, images: np.ndarray) -> torch.Tensor:
    transform = create_transform(vit.size, interpolation="bicubic", mean=vit.mean, std=vit.std, crop_pct=1.0)
    return torch.stack([transform(Image.fromarray(image)) for image in images])


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> tuple[VitFeatures, VisionTransformer]:
    net, state = plain(DINOV2_B14, 224, 518)
    path = tmp_path_factory.mktemp("weights") / "dinov2_vitb14_pretrain.pth"
    torch.save({**state, "mask_token": torch.zeros(1, 48)}, path)  # as Meta's file has it
    return open_vit(DINOV2_B14, path, **SMALL), net


def test_dinov2s_features_are_timms_class_token_after_the_final_norm(
    dino: tuple[VitFeatures, VisionTransformer],
) -> None:
    ours, net = dino
    images = pictures(8, 256)
    with torch.inference_mode():
        theirs = net.forward_features(seen(DINOV2_B14, images))[:, 0].numpy()
    assert isinstance(ours, PatchExtractor)
    assert ours.dim == 48
    assert ours(images) == pytest.approx(theirs, abs=1e-5)
    assert theirs.std(axis=0).mean() > 0.01  # a thousand times the tolerance: pictures do differ


def test_patches_are_the_keys_of_the_last_layer_in_rows(dino: tuple[VitFeatures, VisionTransformer]) -> None:
    ours, net = dino
    images = pictures(2, 64)
    with torch.inference_mode():
        tokens = net.norm_pre(net._pos_embed(net.patch_embed(seen(DINOV2_B14, images))))
        last = net.blocks[1]
        keys = last.attn.qkv(last.norm1(net.blocks[0](tokens)))[:, 1:, 48:96].numpy()
    assert ours.patches(images).shape == (2, 256, 48)
    assert ours.patches(images) == pytest.approx(keys, abs=1e-4)


def test_clips_features_are_its_projected_image_embedding(tmp_path: Path) -> None:
    net, state = plain(CLIP_L14, 336, 336)
    save_file(state, tmp_path / "clip.safetensors")
    ours, images = open_vit(CLIP_L14, tmp_path / "clip.safetensors", **SMALL), pictures(2, 128)
    with torch.inference_mode():
        theirs = net(seen(CLIP_L14, images)).numpy()
    assert ours.dim == 768
    assert ours(images) == pytest.approx(theirs, abs=1e-4)
    assert ours.patches(images).shape == (2, 576, 48)
    assert type(net.blocks[0].mlp.act).__name__.lower().startswith("quick")  # OpenAI's own activation


def test_openais_names_of_the_tensors_are_understood(tmp_path: Path) -> None:
    _, state = plain(CLIP_L14, 336, 336)
    theirs = {"visual.class_embedding": state["cls_token"][0, 0], "visual.proj": state["head.weight"].T.contiguous()}
    theirs["visual.positional_embedding"] = state["pos_embed"][0]
    names = {
        "patch_embed.proj": "conv1", "norm_pre": "ln_pre", ".norm1": ".ln_1", ".norm2": ".ln_2", ".fc1": ".c_fc",
        ".fc2": ".c_proj", "attn.qkv.": "attn.in_proj_", "attn.proj": "attn.out_proj",
        "blocks.": "transformer.resblocks.",
    }  # fmt: skip
    for key, value in state.items():
        if key not in ("cls_token", "pos_embed", "head.weight", "head.bias"):
            for ours, name in names.items():
                key = key.replace(ours, name)
            theirs["visual." + (key.replace("norm.", "ln_post.") if key.startswith("norm.") else key)] = value
    theirs["text_projection"] = torch.zeros(4, 4)  # the other tower is left alone
    save_file({key: value.clone() for key, value in theirs.items()}, tmp_path / "open_clip.safetensors")
    save_file({**state, "head.bias": torch.zeros(768)}, tmp_path / "timm.safetensors")
    first, second = (open_vit(CLIP_L14, tmp_path / f"{n}.safetensors", **SMALL) for n in ("open_clip", "timm"))
    assert np.array_equal(first(pictures(1)), second(pictures(1)))


def test_features_and_patches_do_not_depend_on_company(dino: tuple[VitFeatures, VisionTransformer]) -> None:
    ours, images = dino[0], pictures(64, 32)
    features, patches = ours(images), ours.patches(images[:9])
    assert np.array_equal(ours(images[:1]), features[:1])
    assert np.array_equal(ours(images[30:37]), features[30:37])
    assert np.array_equal(ours.patches(images[8:9]), patches[8:])


def test_names_and_preprocessing(dino: tuple[VitFeatures, VisionTransformer]) -> None:
    ours = dino[0]
    assert ours.name == f"dinov2_b14-{ours.weights_sha256[:8]}"
    assert ours.preprocess_id == "pillow-bicubic-224-imagenet-v1"


def test_another_depth_and_no_transformer_at_all_are_refused(tmp_path: Path) -> None:
    _, state = plain(DINOV2_L14, 224, 224)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CorruptInputError, match=r"x\.pth: does not hold weights of dinov2_l14: blocks\.1.* unknown"):
        open_vit(DINOV2_L14, tmp_path / "x.pth", **{**SMALL, "depth": 1})
    torch.save({"mask_token": torch.zeros(1), "pos_embed": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(CorruptInputError, match=r"x\.pth: "):
        open_vit(DINOV2_L14, tmp_path / "x.pth", **SMALL)


def test_the_real_ones_are_of_the_sizes_that_papers_name() -> None:
    for vit, width, depth in ((DINOV2_B14, 768, 12), (DINOV2_L14, 1024, 24), (CLIP_L14, 1024, 24)):
        with torch.device("meta"):
            net = timm.create_model(vit.model, img_size=vit.size, num_classes=vit.outputs)
        assert (net.num_features, len(net.blocks), net.patch_embed.patch_size) == (width, depth, (14, 14))
    assert replace(DINOV2_B14, kind=DINOV2_L14.kind, model=DINOV2_L14.model) == DINOV2_L14
