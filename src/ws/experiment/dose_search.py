"""The dose search: a grid of doses, then bisection for the knee, the strongest dose that is still coherent.

Pure arithmetic over a function that measures doses. Where coherence falls through the floor, with its interval, is
estimated from the same probes by `ws.gating.knee`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["find_knee"]


Probe = Callable[[Sequence[float]], Sequence[float]]  # doses -> their coherence


WIDEN = 1.5


def find_knee(
    probe: Probe, grid: Sequence[float], bisect: int, floor: float
) -> tuple[float | None, dict[float, float]]:
    """The strongest probed dose with coherence >= floor (None: no dose has it), and the coherence of every probed dose.

    grid: rising, above 0. `bisect` further probes: halving between the strongest coherent dose and the weakest
    incoherent one above it (0 counts as coherent), or widening by half where no dose is incoherent. NaN is incoherent.
    """
    seen = dict(zip(grid, probe(grid), strict=True))
    for _ in range(bisect):
        low, high = _bracket(seen, floor)
        c = low * WIDEN if high is None else (low + high) / 2
        seen[c] = probe([c])[0]
    low, _ = _bracket(seen, floor)
    return low or None, dict(sorted(seen.items()))


def _bracket(seen: dict[float, float], floor: float) -> tuple[float, float | None]:
    """The strongest coherent dose (0 where none is), and the weakest incoherent one above it."""
    low = max((c for c, coherence in seen.items() if coherence >= floor), default=0.0)
    above = [c for c, coherence in seen.items() if c > low and not coherence >= floor]
    return low, min(above, default=None)
