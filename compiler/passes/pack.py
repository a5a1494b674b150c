"""Packing: how the tensors that VTA reads and writes lie in device memory, as tiles."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from ...isa.config import Config
from ..cpu.stored import BLOCK, NO_HALO, Halo
from ..graph import DType, Graph, Value
from ..ops.linear import Conv2d
from ..ops.pool import SumPool2d
from ..ops.shape import Concat, Gather
from ..vta.layer import image
from .partition import Placed, is_view
from .repeat import Repeats, repeated


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
    whole : Packed or None
        The concatenation that it is a part of, from the byte `whole_byte` on: its maker writes it
        there. Or the larger image that it becomes by repeating each pixel.
    repeats : tuple of int
        How many rows and columns of `whole` a pixel fills; its maker writes each of them.
    """

    value: Value
    tiles: tuple[int, int, int, int]
    halo: Halo
    halo_value: int
    config: Config
    whole: "Packed | None" = None
    whole_byte: int = 0
    repeats: Repeats = (1, 1)

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
        if self.whole is not None and self.is_repeated:
            image, block, row, col = self.whole.strides
            return image, block, row * self.repeats[0], col * self.repeats[1]
        _, cb, rows, cols = self.tiles
        return cb * rows * cols, rows * cols, cols, 1

    @property
    def is_repeated(self) -> bool:
        """Whether each pixel is written several times."""
        return self.repeats != (1, 1)

    @property
    def copies(self) -> tuple[int, ...]:
        """The bytes, from the place of a pixel, at which it is written: (0,) for once."""
        if self.whole is None or not self.is_repeated:
            return (0,)
        row = self.whole.strides[2]
        places = (y * row + x for y in range(self.repeats[0]) for x in range(self.repeats[1]))
        return tuple(place * self.config.inp_tile_bytes for place in places)

    @property
    def root(self) -> "Packed":
        """What it is a part of in the end; itself when it is no part."""
        return self if self.whole is None else self.whole.root

    def inner_byte(self, halo: Halo = (0, 0, 0, 0)) -> int:
        """Return the byte at which the image begins, with `halo` of what is around it."""
        if self.whole is not None and self.is_repeated:
            return self.whole.inner_byte()
        top, left = self.halo[0] - halo[0], self.halo[1] - halo[1]
        return (top * self.strides[2] + left) * self.config.inp_tile_bytes


def pack(placed: Iterable[Placed], config: Config, graph: Graph) -> dict[Value, Packed]:
    """Return the packed form of every value that a VTA layer reads or writes.

    Values that are views of one another share it. It is as large as the largest halo that a
    reader asks for, so that every reader finds what it needs around the image; a reader on the CPU
    whose blocks are such tiles is asked too, unless it wants another filling.
    """
    items = tuple(placed)
    root: dict[Value, Value] = {}
    for item in items:
        if is_view(item):
            source, target = item.group.nodes[0].inputs[0], item.group.nodes[0].output
            root[target] = root.get(source, source)
    halos: Halos = {}
    values: dict[Value, None] = {}
    for item in items:
        layer = item.layer
        if layer is None:
            continue
        values.update(dict.fromkeys((*layer.inputs, layer.output)))
        if layer.halo is not None and layer.data is not None:
            source = root.get(layer.data, layer.data)
            _widen(halos, source, layer.pads, layer.halo)
    used = {root.get(value, value) for value in values}
    if (config.batch, config.block_in) == (1, BLOCK):
        for node in (node for item in items if item.layer is None for node in item.group.nodes):
            op, source = node.op, root.get(node.inputs[0], node.inputs[0])
            if not isinstance(op, Conv2d | SumPool2d) or source not in used or not any(op.pads):
                continue
            if isinstance(op, SumPool2d) or op.groups > 1:  # others multiply bytes without sign
                _widen(halos, source, op.pads, op.pad_value)
    packed: dict[Value, Packed] = {}
    joined = _joined(items, used, {*root, *root.values(), *halos}, config)
    for value in (*values, *(value for value in root if root[value] in used)):
        source = root.get(value, value)
        if source not in packed and source not in joined:
            packed[source] = _packed(source, *halos.get(source, ((0, 0, 0, 0), 0)), config)
        if source in packed:
            packed[value] = packed[source]
    for part, (whole, block) in joined.items():
        alone = _packed(part, NO_HALO, 0, config)
        rows, cols = alone.tiles[2:]
        byte = block * rows * cols * config.inp_tile_bytes
        packed[part] = replace(alone, whole=packed[whole], whole_byte=byte)
    made = {item.layer.output for item in items if item.layer is not None}
    spread = repeated(items, graph)
    for chain, large, repeats in spread:
        small = chain[0]
        if (
            small in made
            and large in packed
            and packed[large].value is large
            and not ({small}.intersection({*root, *root.values(), *halos, *joined}))
        ):
            alone = _packed(packed.pop(small).value, NO_HALO, 0, config)
            alone = replace(alone, whole=packed[large], repeats=repeats)
            packed.update(dict.fromkeys(chain, alone))
            values.update(dict.fromkeys(chain))
    kept = {*values, *root, *joined}
    return {value: packed[value] for value in packed if value in kept}


def is_joined(item: Placed, packed: Mapping[Value, Packed]) -> bool:
    """Return whether a group is a concatenation whose parts are written where they belong."""
    node = item.group.nodes[0]
    whole = packed.get(node.output) if isinstance(node.op, Concat) else None
    return whole is not None and all(
        part in packed and packed[part].whole is whole for part in node.inputs
    )


def is_spread(item: Placed, packed: Mapping[Value, Packed]) -> bool:
    """Return whether a group repeats pixels that their maker has written wherever they belong."""
    node = item.group.nodes[0]
    source = packed.get(node.inputs[0]) if isinstance(node.op, Gather) else None
    return source is not None and source.is_repeated


def _joined(
    items: Iterable[Placed], used: Collection[Value], bound: Collection[Value], config: Config
) -> dict[Value, tuple[Value, int]]:
    """Return the parts of concatenations that need no copies, the whole and the first block.

    That is so of images whose channels fill whole blocks, but for the last ones, of no more images
    than a tile has rows. A value can be a part of one concatenation only, and of none that is
    `bound`: a view, or surrounded by something.
    """
    joined: dict[Value, tuple[Value, int]] = {}
    made: set[Value] = set()
    for item in items:
        node, made_before = item.group.nodes[0], set(made)
        made.update(value for part in item.group.nodes for value in part.outputs)
        if item.layer is not None or len(item.group.nodes) > 1 or not isinstance(node.op, Concat):
            continue
        whole, parts = node.output, node.inputs
        blocks = [-(-part.shape[1] // config.block_in) for part in parts]
        fits = (
            node.op.axis == 1
            and whole.dtype is DType.INT8
            and len(whole.shape) == 4
            and whole.shape[0] <= config.batch
            and whole in used
            and len(set(parts)) == len(parts)
            and made_before.issuperset(parts)
            and not {whole, *parts}.intersection({*bound, *joined})
            and all(part.shape[1] % config.block_in == 0 for part in parts[:-1])
        )
        if fits and whole not in {end for end, _ in joined.values()}:
            for number, part in enumerate(parts):
                joined[part] = whole, sum(blocks[:number])
    return joined


Halos = dict[Value, tuple[Halo, int]]
"""How far something lies around each image, and what it is."""


def _widen(halos: Halos, source: Value, pads: Halo, filling: int) -> None:
    """Have a tensor surrounded by so much; by nothing, if other readers want another filling."""
    before, other = halos.get(source, (NO_HALO, filling))
    if other == filling:
        top, left, bottom, right = (max(pair) for pair in zip(before, pads, strict=True))
        halos[source] = ((top, left, bottom, right), filling)


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
