"""Pretrained folders made by LeRobot itself: tiny policies with random weights and their own processors."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

PICTURE = (3, 32, 40)
JOINTS = ("shoulder", "elbow", "gripper")
FRONT, STATE = "observation.images.front", "observation.state"
CHUNK = 6
SEED = 7
"""Of the noise that a diffusion policy begins with."""


def declare_operators() -> None:
    """Let torchvision be imported where its library cannot be, since it is linked to CUDA's.

    It describes two of its operators to torch in Python, which fails where the library did not declare them.
    The networks that LeRobot takes from it use neither.
    """
    if hasattr(torch.ops.torchvision, "nms"):
        return
    try:
        for path in Path(str(importlib.util.find_spec("torchvision").origin)).parent.glob("_C*.so"):
            torch.ops.load_library(path)
        return
    except OSError:
        pass
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


_KEPT: list[torch.library.Library] = []


def save_policy(folder: Path, kind: str, seed: int = 0, **changes: Any) -> Path:
    """A policy of this kind in `folder`, as LeRobot's training leaves it there."""
    types = importlib.import_module("lerobot.configs.types")
    processing = importlib.import_module(f"lerobot.policies.{kind}.processor_{kind}")
    policies = importlib.import_module("lerobot.configs.policies")
    picture = types.PolicyFeature(types.FeatureType.VISUAL, PICTURE)
    row = types.PolicyFeature(types.FeatureType.STATE, (len(JOINTS),))
    action = types.PolicyFeature(types.FeatureType.ACTION, (len(JOINTS),))
    config = policies.PreTrainedConfig.get_choice_class(kind)(
        input_features={FRONT: picture, STATE: row}, output_features={"action": action}, device="cpu",
        **{**SMALL.get(kind, {}), **changes},
    )  # fmt: skip
    torch.manual_seed(seed)
    policy = policy_class(kind)(config)
    make = getattr(processing, f"make_{kind}_pre_post_processors")
    for part in (policy, *make(config, _statistics())):
        part.save_pretrained(folder)
    return folder / "model.safetensors"


_CLASSES = {"act": "ACTPolicy", "diffusion": "DiffusionPolicy", "smolvla": "SmolVLAPolicy"}


def policy_class(kind: str) -> Any:
    """LeRobot's class for this kind of policy."""
    modeling = importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
    return getattr(modeling, _CLASSES[kind])


def save_language_model(folder: Path) -> Path:
    """The config and tokenizer of a tiny SmolVLM, as the Hub has them for the large ones."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    special = {
        "image_token": "<image>", "fake_image_token": "<fake>", "global_image_token": "<global>",
        "end_of_utterance_token": "<end>",
    }  # fmt: skip
    words = ["<pad>", "<unk>", *special.values(), "<video>", "go", "to", "the", "ball"]
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", extra_special_tokens=special
    )
    SmolVLMProcessor(SmolVLMImageProcessor(), tokenizer, SmolVLMVideoProcessor()).save_pretrained(folder)
    vision = {"hidden_size": 32, "num_attention_heads": 2, "image_size": 64, "patch_size": 16}
    text = {
        "model_type": "llama", "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 16, "vocab_size": len(words), "attention_bias": False,
    }  # fmt: skip
    layers = {"intermediate_size": 32, "num_hidden_layers": 2}
    SmolVLMConfig(
        vision_config=vision | layers,
        text_config=text | layers,
        image_token_id=2,
        scale_factor=2,
        pad_token_id=0,
    ).save_pretrained(folder)
    return folder


SMALL: dict[str, dict[str, Any]] = {
    "act": {
        "chunk_size": CHUNK, "n_action_steps": CHUNK, "pretrained_backbone_weights": None, "dim_model": 32,
        "n_heads": 2, "dim_feedforward": 32, "n_encoder_layers": 1, "use_vae": False,
    },
    "diffusion": {
        "horizon": 8, "n_action_steps": CHUNK, "n_obs_steps": 2, "crop_shape": None, "down_dims": (16, 32),
        "diffusion_step_embed_dim": 16, "spatial_softmax_num_keypoints": 4, "num_inference_steps": 2,
        "drop_n_last_frames": 1,
    },
    "smolvla": {
        "chunk_size": CHUNK, "n_action_steps": CHUNK, "num_vlm_layers": 2, "load_vlm_weights": False,
        "resize_imgs_with_padding": (64, 64), "max_action_dim": 4, "max_state_dim": 4,
    },
}  # fmt: skip


def _statistics() -> dict[str, dict[str, torch.Tensor]]:
    """As of a data set: what each feature's numbers are in the mean, at least, and at most."""
    generator = torch.Generator().manual_seed(1)
    shapes = {FRONT: (3, 1, 1), STATE: (len(JOINTS),), "action": (len(JOINTS),)}
    statistics = {}
    for name, shape in shapes.items():
        mean, spread = (torch.rand(shape, generator=generator) + 0.2 for _ in range(2))
        statistics[name] = {"mean": mean, "std": spread, "min": mean - 3 * spread, "max": mean + 3 * spread}
    return statistics


def own_answer(folder: Path, frames: list[dict[str, Any]], task: str = "") -> np.ndarray:
    """The actions (CHUNK, N) that LeRobot's own loop takes after these frames, the newest last."""
    processing = importlib.import_module("lerobot.processor")
    utils = importlib.import_module("lerobot.policies.utils")
    config = importlib.import_module("lerobot.configs.policies").PreTrainedConfig.from_pretrained(folder)
    policy = policy_class(config.type).from_pretrained(folder, config=config)
    converters = (
        processing.converters.policy_action_to_transition,
        processing.converters.transition_to_policy_action,
    )
    load = processing.PolicyProcessorPipeline.from_pretrained
    before = load(folder, "policy_preprocessor.json")
    after = load(folder, "policy_postprocessor.json", to_transition=converters[0], to_output=converters[1])
    policy.reset()
    actions = []
    for frame in [*frames, *[frames[-1]] * (CHUNK - 1)]:
        if len(actions) < len(frames):  # the last of them starts a new chunk
            getattr(policy, "_queues", {"action": []})["action"].clear()
            torch.manual_seed(SEED)
        observed = utils.prepare_observation_for_inference(dict(frame), torch.device("cpu"), task)
        actions.append(after(policy.select_action(before(observed))).numpy()[0])
    return np.stack(actions[len(frames) - 1 :])
