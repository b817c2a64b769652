"""Validated, read-only arrays as fields of the problem data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

if TYPE_CHECKING:
    from collections.abc import Callable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def _first_bad(bad: NDArray[np.bool_], values: NDArray[Any]) -> str:
    where = np.argwhere(np.atleast_1d(bad))[0]
    value = np.atleast_1d(values)[tuple(where)]
    place = "" if values.ndim == 0 else "element [" + ", ".join(str(int(i)) for i in where) + "] "
    return f"{place}is {value}"


def _converter(
    kind: type[np.generic], ndims: tuple[int, ...], lower: float | None, upper: float | None, strict: bool
) -> Callable[[Any], Any]:
    def convert(value: Any) -> NDArray[Any]:
        try:
            raw = np.asarray(value)
            if raw.dtype.kind not in "iuf":
                raise TypeError
        except (TypeError, ValueError):
            raise ValueError("must be a number or a regular array of numbers") from None
        if raw.ndim not in ndims:
            raise ValueError(f"must have {' or '.join(map(str, ndims))} dimensions, has {raw.ndim}")
        finite = np.isfinite(raw)
        if not finite.all():
            raise ValueError(_first_bad(~finite, raw) + ", must be finite")
        if kind is np.int64 and raw.dtype.kind == "f" and (raw != np.floor(raw)).any():
            raise ValueError(_first_bad(raw != np.floor(raw), raw) + ", must be an integer")
        array = np.array(raw, dtype=kind)  # a copy, so that the caller's array stays the caller's
        if lower is not None:
            bad = array <= lower if strict else array < lower
            if bad.any():
                raise ValueError(_first_bad(bad, array) + f", must be {'>' if strict else '>='} {lower:g}")
        if upper is not None and (array > upper).any():
            raise ValueError(_first_bad(array > upper, array) + f", must be <= {upper:g}")
        array.setflags(write=False)
        return array

    return convert


def _field(
    kind: type[np.generic],
    *ndims: int,
    lower: float | None = None,
    upper: float | None = None,
    strict: bool = False,
) -> tuple[Any, ...]:
    return (
        BeforeValidator(_converter(kind, ndims, lower, upper, strict)),
        PlainSerializer(lambda array: array.tolist(), when_used="json"),
        WithJsonSchema(_schema(kind, ndims, lower, upper, strict)),
    )


def _schema(
    kind: type[np.generic], ndims: tuple[int, ...], lower: float | None, upper: float | None, strict: bool
) -> dict[str, Any]:
    """Say in JSON Schema what the converter takes."""
    number: dict[str, Any] = {"type": "integer" if kind is np.int64 else "number"}
    if lower is not None:
        number["exclusiveMinimum" if strict else "minimum"] = lower
    if upper is not None:
        number["maximum"] = upper
    forms = [number]
    for _ in range(max(ndims)):
        forms.append({"type": "array", "items": forms[-1]})
    forms = [forms[ndim] for ndim in ndims]
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


PositivePerUser = Annotated[FloatArray, *_field(np.float64, 0, 1, lower=0.0, strict=True)]
NonNegativePerUser = Annotated[FloatArray, *_field(np.float64, 0, 1, lower=0.0)]
PositiveVector = Annotated[FloatArray, *_field(np.float64, 1, lower=0.0, strict=True)]
SimilarityVector = Annotated[FloatArray, *_field(np.float64, 1, lower=-1.0, upper=1.0)]
RealVector = Annotated[FloatArray, *_field(np.float64, 1)]
RealMatrix = Annotated[FloatArray, *_field(np.float64, 2)]
IndexVector = Annotated[IntArray, *_field(np.int64, 1, lower=0)]
