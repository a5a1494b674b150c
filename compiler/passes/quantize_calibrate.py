"""What range each float value takes on samples, and the scale that suits it best."""

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import Graph, Value
from ..reference import walk

BINS = 4096
LEVELS = 127
SMALLEST_SCALE = 2.0**-40
"""For tensors that are zero, or nearly, on every sample."""


FEW = 512
TAIL = 4.0
"""Fewer values than FEW say little about the greatest to come: TAIL times their rms, zeros not
counted, is expected."""


class Calibration(enum.Enum):
    """How the scale of an activation follows from its values on the samples."""

    MAX = "max"
    """The greatest magnitude is the greatest integer: nothing is clipped."""

    MSE = "mse"
    """The scale of the least squared error of quantization, which may clip rare values."""


class Histogram:
    """Counts of magnitudes in bins of equal width, centred on multiples of it; zero is the first.

    The width doubles, and bins are joined in pairs, when a magnitude would not fit.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.width = 0.0
        self.largest = 0.0

    def add(self, array: NDArray[Any]) -> None:
        """Count the elements of an array; those that are not finite are left out."""
        magnitudes = np.abs(array[np.isfinite(array)].astype(np.float64)).ravel()
        largest = float(magnitudes.max(initial=0.0))
        if largest == 0:
            self.counts[0] += magnitudes.size
            return
        self.largest = max(self.largest, largest)
        if self.width == 0:
            self.width = float(2.0 ** np.ceil(np.log2(largest / (BINS - 1))))
        self._widen(largest)
        bins = np.rint(magnitudes / self.width).astype(np.int64)
        self.counts += np.bincount(bins, minlength=BINS)

    def merge(self, other: "Histogram") -> None:
        """Count what `other` has counted, too."""
        if other.width == 0:
            self.counts[0] += other.counts[0]
            return
        if self.width == 0:
            self.width = other.width
        self.largest = max(self.largest, other.largest)
        self._widen(other.largest)
        bins = np.rint(np.arange(BINS) * (other.width / self.width)).astype(np.int64)
        self.counts += np.bincount(bins, weights=other.counts, minlength=BINS)[:BINS].astype(
            np.int64
        )

    def _widen(self, largest: float) -> None:
        while round(largest / self.width) >= BINS:
            joined = np.bincount(np.rint(np.arange(BINS) / 2).astype(np.int64), self.counts, BINS)
            self.counts, self.width = joined.astype(np.int64), self.width * 2

    def scale(self, method: Calibration) -> float:
        """Return the real size of one integer step, for 127 of them on each side of zero."""
        if self.largest == 0:
            return 1.0
        (kept,) = np.nonzero(self.counts)
        magnitudes, counts = kept * self.width, self.counts[kept]
        widest = self.largest
        if counts.sum() < FEW:
            rms = float(np.sqrt(np.dot(counts, magnitudes**2) / counts[magnitudes > 0].sum()))
            widest = max(widest, TAIL * rms)
        widest = max(widest / LEVELS, SMALLEST_SCALE)
        if method is Calibration.MAX:
            return widest
        best, least = widest, np.inf
        for part in np.linspace(1.0, 0.3, 71):
            scale = widest * float(part)
            steps = np.minimum(np.rint(magnitudes / scale), LEVELS)
            error = float(np.dot(counts, (magnitudes - steps * scale) ** 2))
            if error < least:
                best, least = scale, error
        return best


def observe(
    graph: Graph, samples: Iterable[Mapping[str, NDArray[Any]]], wanted: Iterable[Value]
) -> dict[Value, Histogram]:
    """Run the graph on samples and return a histogram of each value of `wanted`."""
    histograms = {value: Histogram() for value in wanted}

    def visit(value: Value, array: NDArray[Any]) -> None:
        histogram = histograms.get(value)
        if histogram is not None:
            histogram.add(array)

    for sample in samples:
        walk(graph, sample, visit)
    return histograms
