"""Recorded runs as a timeline that Perfetto and chrome://tracing open, a cycle a microsecond.

Trace Event Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ..isa.asm import disassemble_instructions
from ..isa.config import Config
from ..isa.files import replacing
from ..isa.instructions import Unit
from ..isa.stream import decode_stream, unit_numbers
from .queues import POPPED, PUSHED, TOKEN_QUEUES

U8: TypeAlias = npt.NDArray[np.uint8]
Event: TypeAlias = dict[str, Any]

LANES = 16
"""Tracks that a unit has at most; track `LANES * unit` is its first."""

LAYERS = LANES * len(Unit)
"""The track of what a run is divided into."""


class Timeline(Protocol):
    """What a machine, or a device, returns for a run that it recorded."""

    @property
    def cycles(self) -> int | None:
        """How long it took."""
        ...

    @property
    def starts(self) -> npt.NDArray[np.int64] | None:
        """The cycle in which each instruction started, int64 (n)."""
        ...

    @property
    def ends(self) -> npt.NDArray[np.int64] | None:
        """The first cycle after each one's end, int64 (n)."""
        ...


@dataclass(frozen=True, eq=False)
class Run:
    """A program and how it went.

    Attributes
    ----------
    insns : uint8 (n, 16)
    result : Timeline
        As `Machine.run` returns it with `record`.
    layers : sequence of (str, int)
        Names of parts of the program, each with its first instruction, in order; may be empty.
    """

    insns: U8
    result: Timeline
    layers: Sequence[tuple[str, int]] = ()


def write_trace(path: Path, insns: U8, result: Timeline, config: Config) -> None:
    """Write the timeline of one run, as `write_traces` does."""
    write_traces(path, [Run(insns, result)], config)


def write_traces(path: Path, runs: Sequence[Run], config: Config) -> None:
    """Write the timeline of runs, one after the other, as a JSON file, whole or not at all.

    Each unit has a track; instructions that begin before an earlier one has ended are on further
    tracks of the same unit. An arrow goes from the instruction that pushed a token to the one that
    took it, and a slice `wait` stands where a unit was idle until its token came. Layers have a
    track of their own, each from the end of all earlier layers to its own end.

    Raises
    ------
    ValueError
        For a run that has no starts and ends, because it was not recorded.
    OSError
        When the file cannot be written.
    """
    for number, run in enumerate(runs):
        if run.result.cycles is None or run.result.starts is None or run.result.ends is None:
            raise ValueError(
                f"run {number} has no starts and ends; run with timing=True and record=True"
            )
    with replacing(path) as stream:
        stream.write(b'{"displayTimeUnit": "ns", "traceEvents": [')
        for number, event in enumerate(_events(runs, config)):
            stream.write(b",\n" if number else b"\n")
            stream.write(json.dumps(event, separators=(",", ":")).encode())
        stream.write(b"\n]}\n")


def _events(runs: Sequence[Run], config: Config) -> Iterator[Event]:
    yield {"ph": "M", "name": "process_name", "pid": 0, "args": {"name": "VTA, 1 us = 1 cycle"}}
    tracks: set[int] = set()
    begin = 0
    tokens, numbers = [deque[_Token]() for _ in TOKEN_QUEUES], count()
    for run in runs:
        for event in _run_events(run, config, begin, tokens, numbers):
            tracks.add(event.get("tid", 0))
            yield event
        begin += run.result.cycles or 0
    for track in sorted(tracks):
        unit, lane = divmod(track, LANES)
        name = "layers" if track == LAYERS else Unit(unit).name.lower() + f" +{lane}" * (lane > 0)
        yield _track_event("thread_name", track, {"name": name})
        yield _track_event("thread_sort_index", track, {"sort_index": (track + 1) % (LAYERS + 1)})


def _track_event(name: str, track: int, arguments: Event) -> Event:
    return {"ph": "M", "name": name, "pid": 0, "tid": track, "args": arguments}


def _slice(name: str, track: int, start: int, end: int, arguments: Event) -> Event:
    return {
        "ph": "X",
        "name": name,
        "pid": 0,
        "tid": track,
        "ts": start,
        "dur": end - start,
        "args": arguments,
    }


@dataclass(frozen=True)
class _Token:
    """A token on its way: where it was pushed, and from when on it can be taken."""

    number: int
    track: int
    cycle: int


def _run_events(
    run: Run, config: Config, begin: int, tokens: Sequence[deque[_Token]], numbers: Iterator[int]
) -> Iterator[Event]:
    """Give the events of a run that begins in cycle `begin`, with the tokens left from earlier."""
    assert run.result.starts is not None
    assert run.result.ends is not None
    columns = decode_stream(run.insns, config)
    units: list[int] = unit_numbers(columns, config).tolist()
    starts, ends = run.result.starts + begin, run.result.ends + begin
    lanes = _lanes(units, starts, ends)
    texts = disassemble_instructions(run.insns, config)
    order = [(cycle, True, i) for i, cycle in enumerate(starts.tolist())]
    order += [(cycle, False, i) for i, cycle in enumerate(ends.tolist())]
    idle = defaultdict[int, int](lambda: begin)  # from when on, by unit, nothing is under way
    for cycle, starting, i in sorted(order):  # of one cycle, ends before starts
        unit, track = units[i], LANES * units[i] + lanes[i]
        if not starting:
            for side, flag in enumerate(("push_prev", "push_next")):
                if columns[flag][i]:
                    token = _Token(next(numbers), track, cycle)
                    tokens[PUSHED[unit][side]].append(token)
                    yield _arrow("s", token.number, track, cycle - 1)
            continue
        arguments = {"instruction": i, "text": texts[i]}
        yield _slice(_short(texts[i]), track, cycle, int(ends[i]), arguments)
        for side, flag in enumerate(("pop_prev", "pop_next")):
            if columns[flag][i] and tokens[POPPED[unit][side]]:
                token = tokens[POPPED[unit][side]].popleft()
                yield _arrow("f", token.number, track, cycle)
                if token.cycle == cycle > idle[unit]:
                    queue = TOKEN_QUEUES[POPPED[unit][side]]
                    yield _slice("wait", LANES * unit, idle[unit], cycle, {"token": queue})
                    idle[unit] = cycle
        idle[unit] = max(idle[unit], int(ends[i]))
    yield from _layer_events(run, ends, begin)


def _arrow(phase: str, number: int, track: int, cycle: int) -> Event:
    event: Event = {"ph": phase, "name": "token", "cat": "token", "id": number}
    event |= {"pid": 0, "tid": track, "ts": cycle}
    return event | {"bp": "e"} if phase == "f" else event


def _layer_events(run: Run, ends: npt.NDArray[np.int64], begin: int) -> Iterator[Event]:
    for number, (name, first) in enumerate(run.layers, 1):
        after = run.layers[number][1] if number < len(run.layers) else len(ends)
        end = max(begin, int(ends[first:after].max(initial=begin)))
        if end > begin:
            yield _slice(name, LAYERS, begin, end, {"instructions": after - first})
        begin = end


def _lanes(
    units: Sequence[int], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> list[int]:
    """Return for each instruction the first of its unit's tracks that is free when it starts."""
    free: dict[int, list[int]] = {unit: [0] * LANES for unit in Unit}
    lanes: list[int] = []
    for unit, start, end in zip(units, starts.tolist(), ends.tolist(), strict=True):
        lane = next((n for n, cycle in enumerate(free[unit]) if cycle <= start), LANES - 1)
        free[unit][lane] = end
        lanes.append(lane)
    return lanes


def _short(text: str) -> str:
    """Return `LOAD INP` of `LOAD INP sram_base=4 ...`."""
    words = text.split()
    name = [words[0]]
    for word in words[1:]:
        if "=" in word or word.startswith(("pop_", "push_")):
            break
        name.append(word)
    return " ".join(name)
