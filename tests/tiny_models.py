"""Models of a few thousand random parameters, with all the parts of the real ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    T5Config,
    T5EncoderModel,
)

if TYPE_CHECKING:
    from pathlib import Path

_TEXT = CLIPTextConfig(
    hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=2, projection_dim=16, vocab_size=60,
    max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
)  # fmt: skip


def tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer whose vocabulary is single letters."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def _decoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4,), latent_channels=4, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
        shift_factor=0.06, scaling_factor=1.5, sample_size=8,
    ).eval()  # fmt: skip


def _t5() -> T5EncoderModel:
    return T5EncoderModel(T5Config(d_model=32, d_ff=32, d_kv=8, num_layers=2, num_heads=2, vocab_size=60)).eval()


def _stable_diffusion(folder: Path, dynamic: bool, third: bool, **architecture: Any) -> StableDiffusion3Pipeline:
    torch.manual_seed(0)
    words = tokenizer(folder)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, attention_head_dim=8, num_attention_heads=2, joint_attention_dim=32,
        caption_projection_dim=16, pooled_projection_dim=32, out_channels=4, pos_embed_max_size=16, **architecture,
    )  # fmt: skip
    vae = _decoder()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic)
    encoders = [CLIPTextModelWithProjection(_TEXT).eval() for _ in range(2)]
    pipe = StableDiffusion3Pipeline(
        transformer=transformer.eval(), scheduler=scheduler, vae=vae, text_encoder=encoders[0], tokenizer=words,
        text_encoder_2=encoders[1], tokenizer_2=words, text_encoder_3=_t5() if third else None,
        tokenizer_3=words if third else None,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_sd3(folder: Path, dynamic: bool = False) -> StableDiffusion3Pipeline:
    """A Stable Diffusion 3 of a few thousand random parameters, without T5, its weights drawn with a fixed seed."""
    return _stable_diffusion(folder, dynamic, False, num_layers=2)


def tiny_sd35(folder: Path) -> StableDiffusion3Pipeline:
    """A Stable Diffusion 3.5 Medium: normalised queries and keys, second attention in the first layers, three encoders."""
    return _stable_diffusion(folder, False, True, num_layers=3, qk_norm="rms_norm", dual_attention_layers=(0, 1))


def tiny_flux(folder: Path) -> FluxPipeline:
    """A FLUX.1: guidance as an input, latents packed two by two, a schedule that shifts with the resolution."""
    torch.manual_seed(0)
    words = tokenizer(folder)
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(2, 2, 4),
    )  # fmt: skip
    pipe = FluxPipeline(
        transformer=transformer.eval(), vae=_decoder(), text_encoder=CLIPTextModel(_TEXT).eval(), tokenizer=words,
        text_encoder_2=_t5(), tokenizer_2=words,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_tiny_clip(folder: Path) -> None:
    """Save a CLIP of both towers, with its tokenizer and image processor, as ``from_pretrained`` reads it."""
    torch.manual_seed(1)
    text = CLIPTextConfig(
        hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=2, projection_dim=8, vocab_size=60,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=2, projection_dim=8, image_size=8,
        patch_size=4,
    )  # fmt: skip
    folder.mkdir()
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)).save_pretrained(
        folder
    )
    tokenizer(folder).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}).save_pretrained(folder)
