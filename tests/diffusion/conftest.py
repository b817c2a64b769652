"""A tiny Stable Diffusion 3 for a module of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_models import tiny_sd3

if TYPE_CHECKING:
    from diffusers import StableDiffusion3Pipeline


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion3Pipeline:
    return tiny_sd3(tmp_path_factory.mktemp("sd3"))
