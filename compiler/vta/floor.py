"""The least that a layer takes on a machine, whatever its schedule."""

from ...isa.config import Config
from .layer import Layer, image
from .template import Expressions


def floor_cycles(layer: Layer, made: Expressions, config: Config, copies: int = 1) -> int:
    """Return the larger of a layer's multiply-accumulates and its bytes, as cycles.

    Multiply-accumulates are the model's, over those of a cycle: channels that fill a block up do
    not count. Bytes are those of each input and weight, read once, or of the output, written as
    often as `copies` says, over those of a bus word; reading and writing have a channel each.
    """
    products = -(-layer.macs // config.macs_per_cycle)
    n, channels, rows, cols = image(layer.output)
    read = sum(value.size for value in made.images)
    read += sum(array.nbytes for array in made.arrays.values())
    written = n * channels * rows * cols * copies
    return max(products, read // config.bus_bytes, written // config.bus_bytes)
