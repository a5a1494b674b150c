"""The geometry of loads and stores: any strided box becomes the rows that instructions move."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..isa.config import Config
from ..isa.instructions import Load, Memory
from .kernel import greatest


class TransferError(ValueError):
    """A load or store that no instruction can express."""


class Dim(NamedTuple):
    """One dimension of a box: its extent, its step in DRAM in bytes and in SRAM in tiles."""

    extent: int
    dram_bytes: int
    sram_tiles: int


class Pads(NamedTuple):
    """Zeros that a load writes around its rows: rows above and below, tiles left and right."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


NO_PADS = Pads()


class Transfer(NamedTuple):
    """The fields of one LOAD or STORE: rows of elements, and the zeros around them.

    `dram_byte` counts bytes, `x_size` and `x_stride` elements; the tiles lie in SRAM without gaps.
    """

    sram_base: int
    dram_byte: int
    y_size: int
    x_size: int
    x_stride: int
    pads: Pads = NO_PADS

    @property
    def tiles(self) -> int:
        """Tiles of SRAM that it fills or empties, pads included."""
        rows = self.y_size + self.pads.top + self.pads.bottom
        return rows * (self.x_size + self.pads.left + self.pads.right)


def transfers(
    memory: Memory,
    sram_base: int,
    dram_byte: int,
    dims: Sequence[Dim],
    config: Config,
    pads: Pads = NO_PADS,
) -> list[Transfer]:
    """Return the instructions that move a box, outermost dimension first.

    Dimensions without a gap between them become one, so that bursts are as long as can be. Zeros
    are written around the last two dimensions, `pads` of them; `sram_base` is then the first tile
    of the padded box, and the last two dimensions step by 1 and by the padded row in SRAM.

    Raises
    ------
    TransferError
        For a box outside the buffer or a misaligned address, pads that do not fit their fields, and
        padded boxes that do not lie in SRAM as above.
    """
    element = memory.element_bytes(config)
    most = greatest(Load, "x_size", config)
    most_pads = greatest(Load, "x_pad_0", config)
    if any(dim.extent < 0 for dim in dims):
        raise TransferError(f"a dimension of {list(dims)} has a negative extent")
    if not all(0 <= count <= most_pads for count in pads):
        raise TransferError(f"{pads} of {memory.name}: one load writes 0 to {most_pads} of each")
    for dim in dims:
        if dim.extent > 1 and dim.dram_bytes % element:
            raise TransferError(
                f"{dim} of {memory.name} steps {dim.dram_bytes} bytes in DRAM; "
                f"it must step by whole elements of {element} bytes"
            )
    if dram_byte % element or dram_byte < 0:
        raise TransferError(
            f"byte {dram_byte} of DRAM is no address of {memory.name}; "
            f"it must be a multiple of {element}"
        )
    if any(pads):
        moves = list(_padded(sram_base, dram_byte, list(dims), element, pads, most))
    else:
        moves = list(_plain(sram_base, dram_byte, list(dims), element, most))
    depth = memory.depth(config)
    for move in moves:
        if move.sram_base < 0 or move.sram_base + move.tiles > depth:
            raise TransferError(
                f"{memory.name} reaches from tile {move.sram_base} to "
                f"{move.sram_base + move.tiles - 1}; its buffer holds tiles 0 to {depth - 1}"
            )
        if move.dram_byte < 0:
            raise TransferError(f"{list(dims)} from byte {dram_byte} begins before the arena")
    return moves


def _plain(sram: int, dram: int, dims: list[Dim], element: int, most: int) -> Iterator[Transfer]:
    if any(dim.extent == 0 for dim in dims):
        return
    dims = _folded(dims)
    row = Dim(1, element, 1)
    if dims and dims[-1].dram_bytes == element and dims[-1].sram_tiles == 1:
        row = dims.pop()
    if row.extent > most:
        for begin in range(0, row.extent, most):
            part = row._replace(extent=min(most, row.extent - begin))
            yield from _plain(sram + begin, dram + begin * element, [*dims, part], element, most)
        return
    rows = Dim(1, row.extent * element, row.extent)
    fitting = [
        dim
        for dim in dims
        if dim.sram_tiles == row.extent and 0 <= dim.dram_bytes // element <= most
    ]
    if fitting:
        rows = max(fitting, key=lambda dim: dim.extent)
        dims.remove(rows)
    for begin_sram, begin_dram in _positions(sram, dram, dims):
        for begin in range(0, rows.extent, most):
            yield Transfer(
                begin_sram + begin * rows.sram_tiles,
                begin_dram + begin * rows.dram_bytes,
                min(most, rows.extent - begin),
                row.extent,
                rows.dram_bytes // element,
            )


def _padded(
    sram: int, dram: int, dims: list[Dim], element: int, pads: Pads, most: int
) -> Iterator[Transfer]:
    if len(dims) < 2:
        dims = [Dim(1, 0, 0)] * (2 - len(dims)) + dims
    *outer, rows, row = dims
    width = pads.left + row.extent + pads.right
    if not 0 < row.extent <= most or (row.extent > 1 and row[1:] != (element, 1)):
        raise TransferError(
            f"padded rows of {row}: they must hold 1 to {most} elements, {element} bytes apart in "
            f"DRAM and 1 tile apart in SRAM"
        )
    if rows.extent > 1 and rows.sram_tiles != width:
        raise TransferError(
            f"padded rows lie {rows.sram_tiles} tiles apart in SRAM; with {pads.left} zeros before "
            f"and {pads.right} after {row.extent} elements they must lie {width} apart"
        )
    stride = rows.dram_bytes // element if rows.extent > 1 else row.extent
    at_once = most if 0 <= stride <= most else 1
    for begin_sram, begin_dram in _positions(sram, dram, outer):
        for begin in range(0, max(rows.extent, 1), at_once):
            size = min(at_once, rows.extent - begin)
            top = pads.top if begin == 0 else 0
            bottom = pads.bottom if begin + size == rows.extent else 0
            above = 0 if begin == 0 else pads.top + begin
            yield Transfer(
                begin_sram + above * width,
                begin_dram + begin * rows.dram_bytes,
                size,
                row.extent,
                stride if at_once > 1 else row.extent,
                Pads(top, bottom, pads.left, pads.right),
            )


def _folded(dims: list[Dim]) -> list[Dim]:
    """Drop extents of 1; join a dimension with the one inside it that it continues."""
    folded: list[Dim] = []
    for dim in reversed([dim for dim in dims if dim.extent > 1]):
        inner = folded[-1] if folded else None
        if inner and dim[1:] == (inner.extent * inner.dram_bytes, inner.extent * inner.sram_tiles):
            folded[-1] = inner._replace(extent=dim.extent * inner.extent)
        else:
            folded.append(dim)
    return folded[::-1]


def _positions(sram: int, dram: int, dims: list[Dim]) -> Iterator[tuple[int, int]]:
    if not dims:
        yield sram, dram
        return
    first, *rest = dims
    for i in range(first.extent):
        yield from _positions(sram + i * first.sram_tiles, dram + i * first.dram_bytes, rest)
