"""Chaos: random programs, some of them flawed, on the simulator and on hardware that stalls.

    python -m tests.hw.chaos --programs 10000 --seed 7 --configs tiny,small

Where the bus stalls at random, results are compared, or what is wrong with which instruction; where
it does not, every cycle as well. Hardware starts with random contents, and a program that fills all
buffers runs before each. The first difference is shown with the smallest program that has it.
"""

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from hypothesis import Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from vtakit.isa.asm import disassemble_instructions
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import Load, Memory
from vtakit.sim.errors import ProgramError

from ..sim.programs import (
    SLOW_DRAWS,
    UOPS,
    in_order,
    instructions,
    memory_image,
    program,
    with_tokens,
)
from .both import Both
from .flaws import flawed
from .memory_programs import small

CONFIGS = ("tiny", "small", "batch2")
LATENCIES = (0, 3, 40)
PAUSED = (True, True, False)
"""Two thirds of the programs run on a bus that stalls."""


class Chaos:
    """Machines of some configurations, with every latency, and with a bus that stalls or does not.

    Attributes
    ----------
    seen : Counter
        What the programs came to: `NONE` or the simulator's error, and how the bus was.
    """

    def __init__(self, configs: dict[str, Config], seed: int) -> None:
        self.configs = configs
        self.seen: Counter[str] = Counter()
        self._images = {name: memory_image(config, seed) for name, config in configs.items()}
        self._machines: dict[tuple[str, int, bool], Both] = {}
        for name, config in configs.items():
            for latency in LATENCIES:
                for paused in (True, False):
                    pauses = seed % (1 << 63) + 1 if paused else 0
                    both = Both(config, latency, pauses=pauses, seed=seed)
                    self._machines[name, latency, paused] = both

    def one(self, data: st.DataObject) -> None:
        """Draw a program, run it on both, and fail where they differ."""
        name = data.draw(st.sampled_from(sorted(self.configs)), "machine")
        latency = data.draw(st.sampled_from(LATENCIES), "memory latency")
        paused = data.draw(st.sampled_from(PAUSED), "bus stalls")
        config = self.configs[name]
        racy = data.draw(st.integers(0, 3)) == 0
        if racy:
            drawn = data.draw(with_tokens(config))
        else:
            drawn = data.draw(st.lists(instructions(config), min_size=1, max_size=14))
            drawn = in_order(drawn, config.acc_banks)
        if data.draw(st.booleans()):
            drawn = [Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=28), *drawn]
        insns = program(config, *drawn)
        if not racy and data.draw(st.booleans()):
            flawless = insns
            insns = data.draw(flawed(config, insns))
            racy = insns is not flawless  # of which a token may be gone
        both = self._machines[name, latency, paused]
        found, outcome = both.compared(insns, self._images[name], racy=racy)
        code = outcome.code.name if isinstance(outcome, ProgramError) else "NONE"
        self.seen[f"{code}, bus {'stalls' if paused else 'does not stall'}"] += 1
        assert not found, "\n".join(
            [*found, f"on {name}, latency {latency}:", *disassemble_instructions(insns, config)]
        )

    def close(self) -> None:
        """Let go of all machines."""
        for both in self._machines.values():
            both.close()


def run(
    configs: dict[str, Config], programs: int, seed: int, *, each: Callable[[], None] | None = None
) -> Counter[str]:
    """Run so many programs; return what they came to.

    Parameters
    ----------
    each
        Called after each program.

    Raises
    ------
    AssertionError
        At the first difference, with the smallest program that Hypothesis finds.
    """
    chaos = Chaos(configs, seed)

    @seeded(seed)
    @settings(
        max_examples=programs,
        deadline=None,
        database=None,
        suppress_health_check=SLOW_DRAWS,
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.data())
    def all_of_them(data: st.DataObject) -> None:
        chaos.one(data)
        if each:
            each()

    try:
        all_of_them()
    finally:
        chaos.close()
    return chaos.seen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; exit status 1 at a difference."""
    parser = argparse.ArgumentParser(description="Random programs on simulator and hardware.")
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, help="of everything; random where left out")
    parser.add_argument(
        "--configs",
        default=",".join(CONFIGS),
        help="presets, with commas; their buffers and queues are cut short",
    )
    options = parser.parse_args(arguments)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    if unknown := [name for name in options.configs.split(",") if name not in PRESETS]:
        parser.error(f"there is no preset {unknown[0]!r}; there are {', '.join(PRESETS)}")
    configs = {name: small(PRESETS[name], 128) for name in options.configs.split(",")}
    print(f"chaos: {options.programs} programs on {', '.join(configs)}, --seed {seed}", flush=True)
    begun, done = time.perf_counter(), 0

    def each() -> None:
        nonlocal done
        done += 1
        if done % 1000 == 0:
            print(f"{done} programs, {time.perf_counter() - begun:.0f} s", flush=True)

    try:
        seen = run(configs, options.programs, seed, each=each)
    except AssertionError as error:
        print(f"chaos, --seed {seed}: the two differ:\n{error}", file=sys.stderr)
        return 1
    for outcome, count in sorted(seen.items()):
        print(f"{count:7} {outcome}")
    print(f"{seen.total()} programs in {time.perf_counter() - begun:.0f} s: no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
