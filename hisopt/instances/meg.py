"""Problem data of mobile edge generation (MEG): an image a slot, with denoising steps and a merging ratio to choose.

The model is that of X. Xu, Y. Liu, X. Mu, H. Xing, A. Nallanathan, "Accelerating Mobile Edge Generation (MEG) by Constrained
Learning", IEEE TCCN 11(3), 2025, doi 10.1109/TCCN.2025.3558975 ("the MEG paper"). In each slot the server sees the channel,
runs n denoising steps, merges a share beta of the latent's tokens, and sends the rest to the device, which decodes the image. The
reward is minus the logarithm of the image's mean squared error; latency and energy are limited on average.

What the paper leaves unpublished (cost of a FLOP, FLOPs, the table of errors) has defaults here, each with its reason at its
field. Units are SI: seconds, joules, watts, hertz, FLOP, bits, metres.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from hisopt.arrays import FloatArray, PositiveVector, RealMatrix, RealVector
from hisopt.errors import InputError
from hisopt.instances.common import Data, content_hash

_STEPS = tuple(range(4, 13))  # n of the MEG paper
_RATIOS = tuple(k / 16 for k in range(13))  # beta of the MEG paper, [0, 0.75], in sixteenths
_ROUNDING = 1e-9  # of sums of probabilities


def default_distortion(steps: FloatArray, ratios: FloatArray) -> FloatArray:
    """Mean squared error of n steps and merging ratio beta, shape (steps, ratios); images in [0, 1].

    Ours, as the paper's figures cannot be read: falling in n towards a floor, rising in beta slowly at first, since merged
    tokens are the most redundant ones.
    """
    n, beta = np.asarray(steps, dtype=np.float64)[:, None], np.asarray(ratios, dtype=np.float64)[None, :]
    return np.asarray(0.008 + 0.02 * np.exp(-0.35 * (n - 4)) + 0.03 * beta**2)


class MegChannel(Data):
    """A channel in bins.

    Attributes: ``gain`` of each bin, shape (H,), (received over sent power); ``probability`` of each bin in the long run, shape
    (H,); ``transition`` from bin to bin, shape (H, H), rows summing to one, or None where slots are independent; ``start``,
    the distribution of the first slot's bin, shape (H,), which matters to the discounted criterion alone (None: ``probability``).
    """

    gain: RealVector
    probability: RealVector
    transition: RealMatrix | None = None
    start: RealVector | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.gain) == 0:
            raise ValueError("gain: is empty")
        if (self.gain <= 0).any():
            raise ValueError(f"gain: bin {int(np.argmin(self.gain))} has {self.gain.min():g}, must be > 0")
        for name in ("probability", "start"):
            values = getattr(self, name)
            if values is None:
                continue
            if len(values) != len(self.gain):
                raise ValueError(f"{name}: {len(values)} values for {len(self.gain)} bins")
            if (values < 0).any() or abs(values.sum() - 1) > _ROUNDING:
                raise ValueError(f"{name}: must be >= 0 and sum to 1, sums to {values.sum():.12g}")
        if self.transition is not None:
            if self.transition.shape != (len(self.gain), len(self.gain)):
                raise ValueError(
                    f"transition: shape {self.transition.shape}, must be ({len(self.gain)}, {len(self.gain)})"
                )
            row_sums = self.transition.sum(axis=1)
            bad = np.flatnonzero((self.transition < 0).any(axis=1) | (np.abs(row_sums - 1) > _ROUNDING))
            if len(bad):
                raise ValueError(f"transition: row {bad[0]} must be >= 0 and sum to 1, sums to {row_sums[bad[0]]:.12g}")
            after = self.probability @ self.transition
            if np.abs(after - self.probability).max() > 1e-6:
                raise ValueError("probability: is not the transition's stationary distribution")
            from scipy.sparse.csgraph import connected_components

            parts, label = connected_components(self.transition > 0, connection="strong")
            if parts > 1:  # the long run would depend on the start
                other = int(np.argmax(label != label[0]))
                raise ValueError(f"transition: bins 0 and {other} do not lead to each other")
        return self

    @property
    def bins(self) -> int:
        """H."""
        return len(self.gain)

    @classmethod
    def from_matrix(cls, gain: FloatArray, transition: FloatArray) -> Self:
        """Return a finite-state channel by its transition matrix; its long-run probabilities follow.

        Raises pydantic's ValidationError where the matrix is not stochastic, or its bins do not all lead to each other.
        """
        matrix = np.asarray(transition, dtype=np.float64)
        bins = len(matrix)
        if matrix.shape != (bins, bins) or not np.isfinite(matrix).all() or not bins:
            return cls(gain=gain, probability=np.ones(1), transition=matrix)  # which says what is wrong
        balance = np.vstack([matrix.T - np.eye(bins), np.ones(bins)])
        found = np.maximum(np.linalg.lstsq(balance, np.append(np.zeros(bins), 1.0), rcond=None)[0], 0.0)
        return cls(gain=gain, probability=found / max(found.sum(), 1e-300), transition=matrix)

    @classmethod
    def uniform_distance(cls, bins: int = 64, nearest_m: float = 200.0, farthest_m: float = 300.0) -> Self:
        """Independent slots, distance uniform over a range (the MEG paper's 200 to 300 m), each bin at its middle."""
        middle = nearest_m + (np.arange(bins) + 0.5) * (farthest_m - nearest_m) / bins
        return cls(gain=path_gain(middle), probability=np.full(bins, 1 / bins))

    @classmethod
    def gauss_markov(
        cls, bins: int = 32, correlation: float = 0.9, nearest_m: float = 200.0, farthest_m: float = 300.0
    ) -> Self:
        """The same distances in the long run, from slot to slot as quantiles of a Gauss-Markov process; ours.

        A standard normal process z' = r z + sqrt(1 - r^2) w is cut into ``bins`` equally likely pieces; piece k is the k-th
        piece of the distance range.
        """
        from scipy.stats import norm

        if not 0 <= correlation < 1:
            raise ValueError(f"correlation: is {correlation}, must be in [0, 1)")
        edges = norm.ppf(np.arange(bins + 1) / bins)
        fine = 64  # points a piece, over which the next piece's probability is averaged
        points = norm.ppf((np.arange(bins * fine) + 0.5) / (bins * fine))
        spread = np.sqrt(1 - correlation**2)
        below = norm.cdf((edges[None, :] - correlation * points[:, None]) / spread)
        transition = np.diff(below, axis=1).reshape(bins, fine, bins).mean(axis=1)
        transition = (transition + transition[::-1, ::-1]) / 2  # exact for the process; takes the averaging's error out
        for _ in range(500):  # doubly stochastic, so that every piece keeps its probability
            transition /= transition.sum(axis=0, keepdims=True)
            transition /= transition.sum(axis=1, keepdims=True)
        channel = cls.uniform_distance(bins, nearest_m, farthest_m)
        return cls(gain=channel.gain, probability=channel.probability, transition=transition)


def path_gain(distance_m: FloatArray) -> FloatArray:
    """Gain of the path loss 35.3 + 37.6 log10(d / m) dB of the MEG paper."""
    return np.asarray(10 ** (-(35.3 + 37.6 * np.log10(np.asarray(distance_m, dtype=np.float64))) / 10))


class Chance(Data):
    """A slot exceeds ``level`` (s or J) with at most this ``probability``; ours, the paper limits averages alone."""

    level: float = Field(gt=0)
    probability: float = Field(ge=0, le=1)


class MegInstance(Data):
    """An instance of MEG: a constrained Markov decision process whose actions do not move the channel.

    Attributes
    ----------
    channel
        See `MegChannel`.
    steps, ratios
        The n, shape (A,), and the beta, shape (B,), to choose from. Published: 4 to 12, and [0, 0.75].
    distortion
        Mean squared error of each (n, beta), shape (A, B). Default: `default_distortion`.
    bandwidth_hz, power_w, noise_w
        Published: 1 MHz, 30 dBm, -94 dBm.
    tokens, token_channels, token_bits
        The latent of 1024 x 1024 pixels: 4,096 tokens of 16 channels of 16 bits; a merged token costs one channel. Published.
    flop_step, flop_text, flop_decode
        FLOPs of a denoising step of SDXL with guidance, of its text encoders, of decoding the latent. Defaults: SDXL at
        1024 x 1024 as `hisopt.profile` counts it, 13.52, 0.222 and 10.47 TFLOP (the paper's model; its own counts are
        unpublished).
    seconds_per_flop, joules_per_flop
        a and e of the server. Defaults: 76.4 TFLOP/s, one A100 in Table II of the journal paper on the hybrid scheme; and, ours,
        15 J a TFLOP, between the 5 J that an A100 takes and the 20.8 J of that Table II, because both published limits then bind.
    device_slowdown, device_energy_ratio
        Published: the device takes 2 a seconds and 1.25 e joules a FLOP.
    seconds_base
        b, the part of a slot's latency that no FLOP explains. Default 0: unpublished.
    latency_limit_s, energy_limit_j, horizon
        Published: 3 s and 1.8 kJ on average over 64 slots.
    discount
        Of the discounted criterion, in which means weigh slot t by (1 - gamma) gamma^t; None: averages in the long run.
    latency_cap_s, energy_cap_j
        Ours: limits that every single slot keeps. None: none.
    latency_chance, energy_chance
        Ours: how often a slot may exceed a level, see `Chance`. None: as often as it likes.
    payload
        Bits that are sent at each merging ratio, shape (B,), in place of the latent's (None); see `centralised`.

    Raises
    ------
    pydantic.ValidationError
        If a field is unknown, of the wrong shape or out of range.
    """

    model: ClassVar[Literal["meg"]] = "meg"

    channel: MegChannel = Field(default_factory=MegChannel.uniform_distance)
    steps: RealVector = Field(default_factory=lambda: np.array(_STEPS, dtype=np.float64))
    ratios: RealVector = Field(default_factory=lambda: np.array(_RATIOS))
    distortion: RealMatrix | None = None
    bandwidth_hz: float = Field(default=1e6, gt=0)
    power_w: float = Field(default=1.0, gt=0)
    noise_w: float = Field(default=10 ** (-94 / 10) * 1e-3, gt=0)
    tokens: int = Field(default=4096, gt=0)
    token_channels: int = Field(default=16, gt=0)
    token_bits: int = Field(default=16, gt=0)
    flop_step: float = Field(default=13.52e12, gt=0)
    flop_text: float = Field(default=0.222e12, ge=0)
    flop_decode: float = Field(default=10.47e12, ge=0)
    seconds_per_flop: float = Field(default=1 / 76.4e12, gt=0)
    joules_per_flop: float = Field(default=15e-12, ge=0)
    device_slowdown: float = Field(default=2.0, gt=0)
    device_energy_ratio: float = Field(default=1.25, ge=0)
    seconds_base: float = Field(default=0.0, ge=0)
    latency_limit_s: float = Field(default=3.0, gt=0)
    energy_limit_j: float = Field(default=1800.0, gt=0)
    horizon: int = Field(default=64, ge=1)
    discount: float | None = Field(default=None, ge=0, lt=1)
    latency_cap_s: float | None = Field(default=None, gt=0)
    energy_cap_j: float | None = Field(default=None, gt=0)
    latency_chance: Chance | None = None
    energy_chance: Chance | None = None
    payload: PositiveVector | None = None

    @model_validator(mode="after")
    def _check_actions(self) -> Self:
        for name, low, high in (("steps", 0.0, np.inf), ("ratios", 0.0, 1.0)):
            values = getattr(self, name)
            if not len(values) or (values < low).any() or (values > high).any() or (np.diff(values) <= 0).any():
                raise ValueError(f"{name}: must be increasing numbers in [{low:g}, {high:g}]")
        if self.payload is not None and len(self.payload) != len(self.ratios):
            raise ValueError(f"payload: {len(self.payload)} values for {len(self.ratios)} merging ratios")
        if self.distortion is not None:
            shape = (len(self.steps), len(self.ratios))
            if self.distortion.shape != shape:
                raise ValueError(f"distortion: shape {self.distortion.shape}, must be {shape}")
            bad = np.argwhere(self.distortion <= 0)
            if len(bad):
                n, b = bad[0]
                raise ValueError(
                    f"distortion: n = {self.steps[n]:g}, beta = {self.ratios[b]:g} has {self.distortion[n, b]:g}, must be > 0"
                )
        return self

    @cached_property
    def errors(self) -> FloatArray:
        """Mean squared error of each (n, beta), shape (A, B)."""
        return default_distortion(self.steps, self.ratios) if self.distortion is None else self.distortion

    @property
    def users(self) -> int:
        """1: there is one device."""
        return 1

    @property
    def max_clusters(self) -> int:
        """1: there is nobody to share with."""
        return 1

    @property
    def size(self) -> str:
        """H, A and B in words."""
        return f"{self.channel.bins:,} channel bins, {len(self.steps)} steps x {len(self.ratios)} merging ratios"

    @property
    def actions(self) -> int:
        """A B; action a is n = a // B, beta = a % B."""
        return len(self.steps) * len(self.ratios)

    def action_name(self, action: int) -> str:
        """Return an action in words: 'n = 8, beta = 0.25'."""
        step, ratio = divmod(action, len(self.ratios))
        return f"n = {self.steps[step]:g}, beta = {self.ratios[ratio]:g}"

    def centralised(self, image_bits: float = 1024 * 1024 * 24) -> Self:
        """Return the same task with the image generated on the server alone and sent: no merging, the server decodes.

        ``image_bits`` are sent; the default is 1024 x 1024 pixels of three bytes, uncompressed. The quality is that
        without merging.
        """
        whole = np.flatnonzero(self.ratios == 0)
        if not len(whole):
            raise InputError("ratios: centralised generation merges nothing, and 0 is not among them")
        return self.replace(
            ratios=np.zeros(1), distortion=self.errors[:, whole], payload=[image_bits], device_slowdown=1.0,
            device_energy_ratio=1.0,
        )  # fmt: skip

    @cached_property
    def content_hash(self) -> str:
        """First 16 hex digits of SHA-256 over every value."""
        return content_hash(self, "MegInstance 1")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MegInstance) and self.content_hash == other.content_hash

    def __hash__(self) -> int:
        return hash(self.content_hash)
