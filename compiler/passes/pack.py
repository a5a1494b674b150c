"""Packing: how the tensors that VTA reads and writes lie in device memory, as tiles."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...isa.config import Config
from ..graph import Value
from ..vta.layer import image
from .partition import Placed, is_view

Halo = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Packed:
    """A tensor in device memory: tiles (NB, CB, H', W', batch, block) of int8.

    Parameters
    ----------
    value : Value
        The tensor; others may be views of it.
    tiles : tuple of int
        NB, CB, H' and W', halo included.
    halo : tuple of int
        Rows and columns around each image: top, left, bottom, right.
    halo_value : int
        What they hold, from before the first run on.
    config : Config
        Gives the shape of a tile.
    """

    value: Value
    tiles: tuple[int, int, int, int]
    halo: Halo
    halo_value: int
    config: Config

    @property
    def shape(self) -> tuple[int, ...]:
        """The packed shape."""
        return (*self.tiles, self.config.batch, self.config.block_in)

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes."""
        nb, cb, rows, cols = self.tiles
        return nb * cb * rows * cols * self.config.inp_tile_bytes

    @property
    def strides(self) -> tuple[int, int, int, int]:
        """Tiles from one index to the next of each dimension."""
        _, cb, rows, cols = self.tiles
        return cb * rows * cols, rows * cols, cols, 1

    def inner_byte(self, halo: Halo = (0, 0, 0, 0)) -> int:
        """Return the byte at which the image begins, with `halo` of what is around it."""
        top, left = self.halo[0] - halo[0], self.halo[1] - halo[1]
        return (top * self.strides[2] + left) * self.config.inp_tile_bytes


def pack(placed: Iterable[Placed], config: Config) -> dict[Value, Packed]:
    """Return the packed form of every value that a VTA layer reads or writes.

    Values that are views of one another share it. It is as large as the largest halo that a
    reader asks for, so that every reader finds what it needs around the image.
    """
    items = tuple(placed)
    root: dict[Value, Value] = {}
    for item in items:
        if is_view(item):
            source, target = item.group.nodes[0].inputs[0], item.group.nodes[0].output
            root[target] = root.get(source, source)
    halos: dict[Value, tuple[Halo, int]] = {}
    values: dict[Value, None] = {}
    for item in items:
        layer = item.layer
        if layer is None:
            continue
        values.update(dict.fromkeys((*layer.inputs, layer.output)))
        if layer.halo is not None and layer.data is not None:
            source = root.get(layer.data, layer.data)
            before, _ = halos.get(source, ((0, 0, 0, 0), 0))
            top, left, bottom, right = (max(pair) for pair in zip(before, layer.pads, strict=True))
            halos[source] = ((top, left, bottom, right), layer.halo)
    packed: dict[Value, Packed] = {}
    for value in (*values, *root):
        source = root.get(value, value)
        if source not in packed:
            packed[source] = _packed(source, *halos.get(source, ((0, 0, 0, 0), 0)), config)
        packed[value] = packed[source]
    return {value: packed[value] for value in packed if value in values or value in root}


def _packed(value: Value, halo: Halo, halo_value: int, config: Config) -> Packed:
    n, c, rows, cols = image(value)
    top, left, bottom, right = halo
    tiles = (
        -(-n // config.batch),
        -(-c // config.block_in),
        rows + top + bottom,
        cols + left + right,
    )
    return Packed(value, tiles, halo, halo_value, config)
