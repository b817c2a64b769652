"""Limited-memory quasi-Newton steps for a smooth convex function of many variables, some of which may not be negative.

Two-metric projection (Bertsekas, 1982): variables at zero whose gradient holds them there stay; on the others the direction
is what L-BFGS makes of their gradient, the step is projected, and it must lower the function as Armijo asks. An iteration
costs some dozens of products of vectors, a fraction of what the Cauchy points and subspaces of L-BFGS-B cost where there are
ten thousand variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy  # its parts load when they are first named, not when solvers are listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hisopt.arrays import BoolArray, FloatArray

_DECREASE = 1e-4  # share of the slope's promise that a step must keep
_SHRINK = 0.3
_TRIES = 12  # steps along one direction
_CURVED = 1e-10  # least cosine between a step and the change of gradient that is remembered


class _Memory:
    """The last steps s and changes of the gradient y, as rows."""

    def __init__(self, most: int, size: int) -> None:
        self.steps, self.changes, self.count, self.most = np.zeros((most, size)), np.zeros((most, size)), 0, most
        self.inner, self.squared = np.zeros(most), 1.0

    def add(self, step: FloatArray, change: FloatArray) -> None:
        with np.errstate(over="ignore"):  # an unbounded dual: the pair says nothing then
            short = step @ change <= _CURVED * float(np.linalg.norm(step) * np.linalg.norm(change))
        if short:
            return
        self.steps[self.count % self.most], self.changes[self.count % self.most] = step, change
        self.inner[self.count % self.most], self.squared = step @ change, float(change @ change)
        self.count += 1

    def direction(self, gradient: FloatArray, moving: BoolArray) -> FloatArray:
        """Return -H times the gradient on the variables that move, 0 on the others."""
        direction = np.where(moving, -gradient, 0.0)
        rows = [k % self.most for k in range(max(self.count - self.most, 0), self.count)]
        if not rows:
            return direction
        add = scipy.linalg.blas.daxpy  # in place, without an array for the product
        share = np.zeros(self.most)
        for k in reversed(rows):
            share[k] = self.steps[k] @ direction / self.inner[k]
            add(self.changes[k], direction, a=-share[k])
        direction *= self.inner[rows[-1]] / self.squared
        for k in rows:
            add(self.steps[k], direction, a=share[k] - self.changes[k] @ direction / self.inner[k])
        direction *= moving
        return direction


def minimise(
    function: Callable[[FloatArray], tuple[float, FloatArray]], x: FloatArray, free: BoolArray, iterations: int,
    memory: int = 12,
) -> None:  # fmt: skip
    """Call a function of x (n,), of which only those marked ``free`` may be negative, ever nearer its minimum.

    The function returns its value and its gradient (n,), and keeps what it wants; it may end the search by an exception.
    """
    x = np.where(free, x, np.maximum(x, 0.0))
    value, gradient = function(x)
    past = _Memory(memory, len(x))
    for _ in range(iterations):
        moving = free | (x > 0) | (gradient < 0)
        direction = past.direction(gradient, moving)
        slope = float(gradient @ direction)
        if slope >= 0:
            past.count = 0
            direction = np.where(moving, -gradient, 0.0)
            slope = float(gradient @ direction)
        if slope >= -1e-16 * abs(value):
            return
        length = 1.0 if past.count else min(1.0, 1 / float(np.abs(direction).max()))
        for _ in range(_TRIES):
            new = x + length * direction
            new = np.where(free, new, np.maximum(new, 0.0))
            found, changed = function(new)
            if found <= value + _DECREASE * float(gradient @ (new - x)):
                break
            length *= _SHRINK
        else:
            if not past.count:
                return
            past.count = 0
            continue
        past.add(new - x, changed - gradient)
        x, value, gradient = new, found, changed
