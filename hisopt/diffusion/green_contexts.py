"""Confine work to some of a GPU's SMs: streams of green contexts, through cuda.core, or the driver where that is missing."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from hisopt.diffusion.board import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAYS = ("stream", "hint", "current")
"""How work is confined: by the stream alone, as it is; and torch told how many SMs to leave (its carve-out hint, which cuBLAS
takes into account; attention kernels do not); and the green context made current, so that libraries that ask see its SMs."""


class Unavailable(RuntimeError):
    """A reading that this machine cannot give, with the reason."""


@contextmanager
def confined(index: int, sms: int, whole: int, way: str, lost: Callable[[str], None]) -> Iterator[tuple[Any, int]]:
    """Yield a stream of torch on at least ``sms`` of the SMs of device ``index``, and how many were granted.

    Raises `Unavailable` where it cannot be. What goes wrong while giving back is told to ``lost``.
    """
    with ExitStack() as stack:

        def later(what: str, close: Callable[[], Any]) -> None:
            def guarded() -> None:
                try:
                    close()
                except Exception as error:
                    lost(f"{what}: {one_line(error)}")

            stack.callback(guarded)

        try:
            torch.cuda.synchronize()  # makes the primary context current
            stream, granted = _opened(index, sms, way, later)
            if way == "hint":
                previous = torch._C._get_sm_carveout_experimental()
                later("carve-out hint", lambda: torch._C._set_sm_carveout_experimental(previous))
                torch._C._set_sm_carveout_experimental(whole - granted)
        except Unavailable:
            raise
        except Exception as error:  # a symbol or library that is missing, a refusal: a point of the law
            raise Unavailable(f"green context of {sms} SMs: {one_line(error)}") from None
        try:
            yield stream, granted
        finally:

            def drained() -> None:
                torch.cuda.synchronize()
                torch.cuda.empty_cache()  # of blocks that belong to the stream

            later("end of the stream", drained)


def _opened(index: int, sms: int, way: str, later: Callable[..., None]) -> tuple[Any, int]:
    try:
        from cuda.core import ContextOptions, Device, SMResourceOptions
    except ImportError:
        return _opened_by_driver(index, sms, way, later)
    device = Device(index)
    device.set_current()
    groups, _ = device.resources.sm.split(SMResourceOptions(count=sms))
    if not groups:
        raise Unavailable(f"green context of {sms} SMs: the driver makes none of that size")
    context = device.create_context(ContextOptions(resources=[groups[0]]))
    later("green context", context.close)
    granted = int(context.resources.sm.sm_count)
    stream = context.create_stream()
    later("stream", stream.close)
    if way == "current":
        previous = device.set_current(context)
        later("previous context", lambda: device.set_current(previous) if previous else device.set_current())
    return torch.cuda.get_stream_from_external(int(stream.handle), index), granted


def _opened_by_driver(index: int, sms: int, way: str, later: Callable[..., None]) -> tuple[Any, int]:
    try:
        from cuda.bindings import driver
    except ImportError:
        raise Unavailable("green contexts need cuda-core or cuda-bindings (extra 'gpu')") from None

    def checked(found: tuple[Any, ...]) -> Any:
        if found[0] != driver.CUresult.CUDA_SUCCESS:
            raise Unavailable(f"green context of {sms} SMs: {found[0].name}")
        return found[1] if len(found) == 2 else found[1:]

    device = checked(driver.cuDeviceGet(index))
    whole = checked(driver.cuDeviceGetDevResource(device, driver.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM))
    groups, count, _ = checked(driver.cuDevSmResourceSplitByCount(1, whole, 0, sms))
    if not count:
        raise Unavailable(f"green context of {sms} SMs: the driver makes none of that size")
    described = checked(driver.cuDevResourceGenerateDesc([groups[0]], 1))
    context = checked(
        driver.cuGreenCtxCreate(described, device, driver.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM)
    )
    later("green context", lambda: checked(driver.cuGreenCtxDestroy(context)))
    handle = checked(driver.cuGreenCtxStreamCreate(context, driver.CUstream_flags.CU_STREAM_NON_BLOCKING, 0))
    later("stream", lambda: checked(driver.cuStreamDestroy(handle)))
    if way == "current":
        checked(driver.cuCtxPushCurrent(checked(driver.cuCtxFromGreenCtx(context))))
        later("previous context", lambda: checked(driver.cuCtxPopCurrent()))
    return torch.cuda.get_stream_from_external(int(handle), index), int(groups[0].sm.smCount)
