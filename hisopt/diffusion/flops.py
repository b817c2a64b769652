"""FLOPs of diffusion models, counted on the meta device: exact for the architecture, without weights or a GPU.

A multiply-add is 2 FLOP. Linear layers, attention products and convolutions are counted; normalisation, activations and
additions are not (below 1 % here), as in torch's `FlopCounterMode`, whose counts these are.
"""

from __future__ import annotations

import inspect
import json
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINEAR = ("aten.mm", "aten.addmm")
_CONVOLUTION = ("aten.convolution", "aten._convolution")
# everything else that is counted is a product of two activations: attention


@dataclass(frozen=True)
class Count:
    """FLOPs of one forward pass by kind, and parameters."""

    linear: int
    attention: int
    convolution: int
    parameters: int

    @property
    def total(self) -> int:
        """All FLOPs."""
        return self.linear + self.attention + self.convolution


def known() -> list[str]:
    """Return the names of the shipped architectures."""
    folder = resources.files("hisopt") / "data" / "architectures"
    return sorted(path.name.removesuffix(".json") for path in folder.iterdir() if path.name.endswith(".json"))


def architecture(name: str) -> dict[str, Any]:
    """Return a shipped architecture, or that of a diffusers config file; raise `InputError` if it is neither.

    Keys: ``denoiser`` (a diffusers config with ``_class_name``), ``text_tokens``, ``latent_factor``, ``text_encoders``,
    ``vae`` (None where unknown).
    """
    if name in known():
        text = (resources.files("hisopt") / "data" / "architectures" / f"{name}.json").read_text()
        shipped: dict[str, Any] = json.loads(text)
        return shipped
    path = Path(name)
    if not path.is_file():
        raise InputError(f"{name}: neither a known model ({', '.join(known())}) nor a diffusers config file")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("_class_name"), str):
        raise InputError(f"{path}: _class_name: missing, and a diffusers config has it")
    return {"denoiser": config, "text_tokens": 333, "latent_factor": 8, "text_encoders": [], "vae": None}


@contextmanager
def _counting(parameters: int) -> Iterator[list[Count]]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    found: list[Count] = []
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        yield found
    kinds = {"linear": 0, "attention": 0, "convolution": 0}
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        name = ".".join(str(operator).split(".")[:2])
        kind = "linear" if name in _LINEAR else "convolution" if name in _CONVOLUTION else "attention"
        kinds[kind] += int(flops)
    found.append(Count(**kinds, parameters=parameters))


def _size(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def denoiser(config: dict[str, Any], resolution: int, text_tokens: int, batch: int, latent_factor: int = 8) -> Count:
    """Count one forward pass of a diffusers transformer or U-Net; raise `InputError` for inputs that are not known here."""
    import diffusers
    import torch

    name = config["_class_name"]
    kind = getattr(diffusers, name, None)
    if not inspect.isclass(kind) or not issubclass(kind, torch.nn.Module):
        raise InputError(f"_class_name: diffusers has no model {name!r}")
    with torch.device("meta"):
        try:
            model = cast("Any", kind).from_config({k: v for k, v in config.items() if not k.startswith("_")})
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{name}: {' '.join(str(error).split())}") from None
        filled = inputs(model, resolution // latent_factor, text_tokens, batch)
        with _counting(_size(model)) as found:
            try:
                model(**filled)
            except (RuntimeError, ValueError) as error:
                raise InputError(f"{name} does not take these inputs: {' '.join(str(error).split())}") from None
    return found[0]


def inputs(model: Any, side: int, text_tokens: int, batch: int) -> dict[str, Any]:
    """Return empty inputs of one forward pass, on the current default device; raise `InputError` where they are not known."""
    import torch

    config, takes = model.config, inspect.signature(model.forward).parameters
    width = next(
        (config[key] for key in ("joint_attention_dim", "cross_attention_dim", "caption_channels") if config.get(key)),
        None,
    )
    if width is None:
        raise InputError(f"{type(model).__name__}: the width of its text embeddings is not in its config")
    if type(model).__name__ == "FluxTransformer2DModel":
        return _flux_inputs(config, side, text_tokens, batch)
    latent = torch.empty(batch, config["in_channels"], side, side)
    filled: dict[str, Any] = {
        "sample" if "sample" in takes else "hidden_states": latent,
        "timestep": torch.empty(batch),
        "encoder_hidden_states": torch.empty(batch, text_tokens, width),
    }
    if "pooled_projections" in takes:
        filled["pooled_projections"] = torch.empty(batch, config["pooled_projection_dim"])
    if config.get("addition_embed_type") == "text_time":
        pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
        filled["added_cond_kwargs"] = {"text_embeds": torch.empty(batch, pooled), "time_ids": torch.empty(batch, 6)}
    missing = [
        name for name, parameter in takes.items()
        if parameter.default is parameter.empty and name not in filled
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]  # fmt: skip
    if missing:
        raise InputError(f"{type(model).__name__}: needs {', '.join(missing)}, which is not known how to fill here")
    return filled


def _flux_inputs(config: Any, side: int, text_tokens: int, batch: int) -> dict[str, Any]:
    """Inputs of FLUX.1: latents packed two by two into tokens, positions of image and text, guidance where it is an input."""
    import torch

    tokens = (side // 2) ** 2
    filled = {
        "hidden_states": torch.empty(batch, tokens, config["in_channels"]),
        "timestep": torch.empty(batch),
        "encoder_hidden_states": torch.empty(batch, text_tokens, config["joint_attention_dim"]),
        "pooled_projections": torch.empty(batch, config["pooled_projection_dim"]),
        "img_ids": torch.empty(tokens, 3),
        "txt_ids": torch.empty(text_tokens, 3),
    }
    return filled | ({"guidance": torch.empty(batch)} if config["guidance_embeds"] else {})


def guided_by_input(config: dict[str, Any]) -> bool:
    """Whether the guidance scale is an input of the model, so that a step is one forward pass with guidance as without."""
    return bool(config.get("guidance_embeds"))


def text_encoder(spec: dict[str, Any], batch: int) -> Count:
    """Count one text encoder's forward pass over its tokens."""
    import torch
    import transformers

    kind = getattr(transformers, spec["class"])
    with torch.device("meta"):
        model = kind(kind.config_class(**spec["config"])).eval()
        tokens = torch.zeros(batch, spec["tokens"], dtype=torch.int64)
        with _counting(_size(model)) as found:
            model(input_ids=tokens)
    return found[0]


def vae_decoder(spec: dict[str, Any], resolution: int, batch: int, latent_factor: int = 8) -> Count:
    """Count the decoding of latents into images."""
    import diffusers
    import torch

    with torch.device("meta"):
        model = getattr(diffusers, spec["class"]).from_config(spec["config"])
        latent = torch.empty(
            batch, spec["config"]["latent_channels"], resolution // latent_factor, resolution // latent_factor
        )
        with _counting(_size(model.decoder)) as found:
            model.decode(latent)
    return found[0]
