"""The ways to cut a layer into tiles that fit the buffers, and what each would cost.

The unit everywhere is the tile of the machine: one vector of `batch` x `block` activations or
accumulators, one `block` x `block` matrix of weights.
"""

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...isa.config import Config

Ints = npt.NDArray[np.int64]
Columns = dict[str, Ints]

_STEP_CYCLES = 24
"""Fixed cost of a tile's step: instructions started, pipelines filled, tokens passed."""

_LOAD_CYCLES = 48
"""What the compute unit waits for the memory in each of its loads."""

_BURST_CYCLES = 1
"""What a row of a transfer costs beyond its words."""


class TilingError(ValueError):
    """No tiling of a layer fits the buffers of a configuration."""


class Overlap(enum.Enum):
    """How transfers hide behind compute: the outer loop that two virtual threads share.

    NONE takes turns. BUFFERS has no threads, but two copies of every buffer. With threads, what
    both read (the inputs when they differ in channels, else the weights) is loaded once.
    """

    NONE = "none"
    BUFFERS = "buffers"
    CHANNELS = "channels"
    ROWS = "rows"
    COLS = "cols"


class Keep(enum.Enum):
    """What stays on chip while the other operand changes."""

    NOTHING = "nothing"
    WEIGHTS = "weights"
    INPUTS = "inputs"


@dataclass(frozen=True)
class Workload:
    """What a layer computes, in tiles: what its tiling depends on.

    Parameters
    ----------
    batches, out_blocks, out_rows, out_cols : int
        The output: out_blocks tiles deep, for each batch of `config.batch` images.
    in_blocks : int
        Input depth in tiles that every output tile sums over; 1 for a pooling, whose output tile
        sees the same tile of the input only.
    section : int
        Output blocks that read the same inputs: fewer than `out_blocks` for a convolution in
        groups.
    window, strides, dilations : tuple of int
        Rows and columns of the window, of its step, and between its elements.
    dense : bool
        Inputs meet weights (convolution, dense layer): INP and WGT. Otherwise (pooling,
        element-wise) inputs are loaded into ACC.
    vectors : int
        Per-channel constants that the epilogue reads, each one ACC tile for each output block.
    residuals : int
        Further inputs of the output's shape, loaded into ACC.
    tile_cycles : int
        ALU and reset cycles that each output tile costs besides GEMM.
    """

    batches: int
    out_blocks: int
    out_rows: int
    out_cols: int
    in_blocks: int
    section: int
    window: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    dense: bool
    vectors: int
    residuals: int
    tile_cycles: int

    @property
    def pooled(self) -> bool:
        """Whether windows of a lone input are reduced in ACC."""
        return not self.dense and self.residuals == 0

    @property
    def grouped(self) -> bool:
        """Whether output blocks read different inputs of a convolution."""
        return self.dense and self.section < self.out_blocks

    @property
    def gemm_cycles(self) -> int:
        """GEMM micro-ops, at one a cycle."""
        if not self.dense:
            return 0
        outputs = self.batches * self.out_blocks * self.out_rows * self.out_cols
        return outputs * self.in_blocks * self.window[0] * self.window[1]


@dataclass(frozen=True)
class Tiling:
    """How many tiles of each axis are worked on at once; ragged last tiles are smaller.

    `blocks`, `rows` and `cols` cut the output, `depth`, `window_rows` and `window_cols` the sum.
    `channels_outer` says whether the loop over output blocks is outside those over rows and
    columns; keeping weights needs it, keeping inputs needs the other order, both an uncut sum.
    `hold_vectors` loads the constants of all channels once, before everything else.
    """

    blocks: int
    rows: int
    cols: int
    depth: int
    window_rows: int
    window_cols: int
    channels_outer: bool
    overlap: Overlap
    keep: Keep
    hold_vectors: bool


@dataclass(frozen=True)
class Candidates:
    """Tilings that fit, as columns, with their estimated cycles, best first."""

    columns: Columns
    cycles: Ints

    def __len__(self) -> int:
        return len(self.cycles)

    def __getitem__(self, index: int) -> Tiling:
        row = {name: int(column[index]) for name, column in self.columns.items()}
        return Tiling(
            blocks=row["blocks"],
            rows=row["rows"],
            cols=row["cols"],
            depth=row["depth"],
            window_rows=row["window_rows"],
            window_cols=row["window_cols"],
            channels_outer=bool(row["channels_outer"]),
            overlap=list(Overlap)[row["overlap"]],
            keep=list(Keep)[row["keep"]],
            hold_vectors=bool(row["hold_vectors"]),
        )


def candidates(work: Workload, config: Config) -> Candidates:
    """Return every tiling considered that fits the buffers, in order of estimated cycles.

    Raises
    ------
    TilingError
        When none fits, naming the buffer that the smallest one overflows and by how much.
    """
    window_rows, window_cols = work.window
    outputs = _mesh(
        blocks=_sizes(work.out_blocks), rows=_sizes(work.out_rows), cols=_sizes(work.out_cols)
    )
    outputs = _filter(  # before all else is tried with them, or they would be millions
        outputs, outputs["blocks"] * outputs["rows"] * outputs["cols"] <= config.acc_depth
    )
    columns = _mesh(
        output=np.arange(len(outputs["blocks"])),
        depth=_sizes(work.in_blocks),
        cut=np.arange(3 if window_rows * window_cols > 1 else 1),
        channels_outer=np.arange(2),
        overlap=np.arange(len(Overlap)),
        keep=np.arange(len(Keep) if work.dense else 1),
        hold_vectors=np.arange(2 if work.vectors else 1),
    )
    columns = {**_filter(outputs, columns.pop("output")), **columns}
    cut = columns.pop("cut")  # 0: the whole window, 1: a row of it at a time, 2: one position
    columns["window_rows"] = np.where(cut == 0, window_rows, 1)
    columns["window_cols"] = np.where(cut == 2, 1, window_cols)
    columns = _filter(columns, _valid(work, columns))
    use = buffer_use(work, columns, config.acc_banks)
    fits = np.ones(len(columns["blocks"]), bool)
    for name, tiles in use.items():
        fits &= tiles <= _depth(name, config)
    if not fits.any():
        raise TilingError(_why_not(use, config))
    columns = _filter(columns, fits)
    cycles = estimate(work, columns, config)
    order = np.argsort(cycles, kind="stable")
    return Candidates(_filter(columns, order), cycles[order])


def buffer_use(work: Workload, columns: Columns, banks: int) -> dict[str, Ints]:
    """Return the tiles that each tiling occupies in INP, WGT and a bank of ACC."""
    copies = np.where(columns["overlap"] == _index(Overlap.NONE), 1, 2)
    in_bank = np.ones_like(copies) if banks == 2 else copies
    in_tiles = _in_rows(work, columns) * _in_cols(work, columns) * _in_depth(work, columns)
    out_tiles = columns["blocks"] * columns["rows"] * columns["cols"]
    acc = out_tiles * max(1 + work.residuals if work.dense else work.residuals, 1)
    if work.pooled:
        acc = acc + in_tiles * columns["blocks"]
    held = columns["hold_vectors"] == 1
    vectors = np.where(held, work.out_blocks, in_bank * columns["blocks"]) * work.vectors
    acc = in_bank * acc + vectors
    if not work.dense:
        return {"acc": acc}
    weights = columns["blocks"] * columns["depth"] * columns["window_rows"] * columns["window_cols"]
    return {"inp": copies * in_tiles, "wgt": copies * weights, "acc": acc}


def estimate(work: Workload, columns: Columns, config: Config) -> Ints:
    """Return the cycles that each tiling would take: the busiest of compute, load and store.

    Where transfers overlap compute all but the first load and the last store are hidden, of a sum
    in several steps those of one step only behind the element-wise operators of a tile, since no
    more is loaded ahead; otherwise they take turns.
    """
    bus = config.bus_bytes
    inp_words = -(-config.inp_tile_bytes // bus)
    wgt_words = -(-config.wgt_tile_bytes // bus)
    out_words = -(-config.out_tile_bytes // bus)
    blocks = _count(work.out_blocks, columns["blocks"])
    space = work.batches * _count(work.out_rows, columns["rows"])
    space = space * _count(work.out_cols, columns["cols"])
    tiles = space * blocks
    steps = _count(work.in_blocks, columns["depth"])
    steps = steps * _count(work.window[0], columns["window_rows"])
    steps = steps * _count(work.window[1], columns["window_cols"])
    outputs = work.batches * work.out_blocks * work.out_rows * work.out_cols
    tile = columns["blocks"] * columns["rows"] * columns["cols"]
    overlap = columns["overlap"]
    inp_rows = _in_depth(work, columns) * _in_rows(work, columns)
    inp_step = inp_rows * (_in_cols(work, columns) * inp_words + _BURST_CYCLES)

    compute = work.gemm_cycles + outputs * (work.tile_cycles + work.residuals * out_words)
    compute = compute + tiles * steps * _STEP_CYCLES
    vector_words = work.vectors * -(-config.acc_tile_bytes // bus)
    each = tiles * (columns["blocks"] * vector_words + work.vectors * _LOAD_CYCLES)
    once = work.out_blocks * vector_words + work.vectors * _LOAD_CYCLES
    compute = compute + np.where(columns["hold_vectors"] == 1, once, each)
    compute = compute + tiles * work.residuals * _LOAD_CYCLES
    if work.pooled:
        compute = compute + tiles * columns["blocks"] * inp_step
    store = outputs * out_words
    last_store = tile * out_words
    serial = overlap == _index(Overlap.NONE)
    if not work.dense:
        return np.where(serial, compute + store, np.maximum(compute, store) + last_store)

    wgt_step = columns["blocks"] * columns["depth"] * wgt_words
    wgt_step = wgt_step * columns["window_rows"] * columns["window_cols"]
    by_channels = overlap == _index(Overlap.CHANNELS)
    by_space = (overlap == _index(Overlap.ROWS)) | (overlap == _index(Overlap.COLS))
    shared = by_channels & (not work.grouped)
    inp_loads = np.where(shared, _count_pairs(blocks) * space, tiles)
    wgt_loads = np.where(by_space, blocks * _count_pairs(space), tiles)
    inp_loads = np.where(columns["keep"] == _keep(Keep.INPUTS), space, inp_loads)
    wgt_loads = np.where(columns["keep"] == _keep(Keep.WEIGHTS), blocks * work.batches, wgt_loads)
    load = steps * (inp_loads * (inp_step + _STEP_CYCLES) + wgt_loads * (wgt_step + _STEP_CYCLES))
    summed = work.gemm_cycles + tiles * steps * _STEP_CYCLES
    one_step = np.maximum(summed // steps + compute - summed, load // steps)
    busy = one_step + (steps - 1) * np.maximum(summed, load) // steps
    if config.acc_banks == 2:  # ALU works beside GEMM, of which the resets are
        beside = compute - summed - outputs + tiles * _STEP_CYCLES
        multiplied = summed + outputs
        hides = np.where(overlap == _index(Overlap.BUFFERS), multiplied, multiplied // steps)
        busy = np.maximum(multiplied + np.maximum(beside - hides, 0), load)
    hidden = np.maximum(np.maximum(busy, load), store) + inp_step + wgt_step + last_store
    return np.where(serial, compute + load + store, hidden)


def _valid(work: Workload, columns: Columns) -> npt.NDArray[np.bool_]:
    """Leave out tilings that repeat others or that the template does not express."""
    overlap, keep = columns["overlap"], columns["keep"]
    blocks = _count(work.out_blocks, columns["blocks"])
    rows = _count(work.out_rows, columns["rows"])
    cols = _count(work.out_cols, columns["cols"])
    whole = (
        (columns["depth"] == work.in_blocks)
        & (columns["window_rows"] == work.window[0])
        & (columns["window_cols"] == work.window[1])
    )
    threaded = {Overlap.CHANNELS: blocks, Overlap.ROWS: rows, Overlap.COLS: cols}
    valid = np.ones(len(overlap), bool)
    for axis, count in threaded.items():
        valid &= (overlap != _index(axis)) | (count >= 2)
    if work.pooled:
        valid &= whole
    outer = columns["channels_outer"] == 1
    weights = whole & outer & (overlap != _index(Overlap.CHANNELS))
    inputs = whole & ~outer & (overlap != _index(Overlap.ROWS)) & (overlap != _index(Overlap.COLS))
    valid &= (keep != _keep(Keep.WEIGHTS)) | weights
    valid &= (keep != _keep(Keep.INPUTS)) | (inputs & (not work.grouped))
    if work.grouped and work.section > 1:  # no tile reaches from one section into another
        valid &= work.section % columns["blocks"] == 0
    return valid & (outer | ((rows * cols > 1) & (blocks > 1)))


def _in_depth(work: Workload, columns: Columns) -> Ints:
    """Return how many blocks of inputs a step of the sum reads."""
    if not work.grouped:
        return columns["depth"]
    return columns["depth"] * -(-columns["blocks"] // work.section)


def _in_rows(work: Workload, columns: Columns) -> Ints:
    span = (columns["window_rows"] - 1) * work.dilations[0] + 1
    return (columns["rows"] - 1) * work.strides[0] + span


def _in_cols(work: Workload, columns: Columns) -> Ints:
    span = (columns["window_cols"] - 1) * work.dilations[1] + 1
    return (columns["cols"] - 1) * work.strides[1] + span


def _sizes(extent: int) -> Ints:
    """Return the tile sizes worth trying: the least one for each number of tiles."""
    return np.unique([-(-extent // count) for count in range(1, extent + 1)]).astype(np.int64)


def _count(extent: int, size: Ints) -> Ints:
    return -(-extent // size)


def _count_pairs(count: Ints) -> Ints:
    return -(-count // 2)


def _index(overlap: Overlap) -> int:
    return list(Overlap).index(overlap)


def _keep(keep: Keep) -> int:
    return list(Keep).index(keep)


def _mesh(**axes: Ints) -> Columns:
    """Return every combination of the axes' values, the last axis changing fastest."""
    mesh = np.meshgrid(*axes.values(), indexing="ij", copy=False)
    return {name: grid.ravel().astype(np.int64) for name, grid in zip(axes, mesh, strict=True)}


def _filter(columns: Columns, rows: Ints | npt.NDArray[np.bool_]) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _depth(name: str, config: Config) -> int:
    return {"inp": config.inp_depth, "wgt": config.wgt_depth, "acc": config.acc_depth}[name]


def _why_not(use: dict[str, Ints], config: Config) -> str:
    excess = sum(np.maximum(tiles - _depth(name, config), 0) for name, tiles in use.items())
    nearest = int(np.argmin(np.asarray(excess)))
    short = {
        f"{name}_buffer_bytes": f"{name} {int(tiles[nearest])} tiles of {_depth(name, config)}"
        for name, tiles in use.items()
        if tiles[nearest] > _depth(name, config)
    }
    return (
        f"no tiling fits the buffers; the smallest one needs {' and '.join(short.values())}; "
        f"a larger {' and '.join(short)} would do"
    )
