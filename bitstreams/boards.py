"""The boards by name: what each has, and what a bitstream for it is made of.

Only facts, so that a list of them needs none of the packages that build them.
"""

from dataclasses import dataclass
from difflib import get_close_matches


class BoardError(ValueError):
    """A board that there is not, or a machine that it cannot be."""


@dataclass(frozen=True)
class BoardFacts:
    """A board.

    Attributes
    ----------
    name : str
    title : str
        What its maker calls it.
    chip : str
    platform : str
        Module and class of its platform in amaranth-boards.
    family : str
        Of the chip: says how it is built (`build.FAMILIES`).
    luts, multipliers, block_rams : int
        What the chip has.
    memory : str
        The device's memory.
    memory_bytes : int
    link : str
        How a host reaches it.
    usb : tuple of (int, int)
        Vendor and product of its USB bridge, for finding the port.
    preset : str
        The configuration that it is built with unless another is asked for.
    clock_mhz : float
        Of the accelerator.
    baud : int
        Bits a second on the serial line.
    checked : tuple of str
        What has been done with it here; nothing that was not.
    """

    name: str
    title: str
    chip: str
    platform: str
    family: str
    luts: int
    multipliers: int
    block_rams: int
    memory: str
    memory_bytes: int
    link: str
    usb: tuple[tuple[int, int], ...]
    preset: str
    clock_mhz: float
    baud: int
    checked: tuple[str, ...] = ()


_FTDI = ((0x0403, 0x6015), (0x0403, 0x6001), (0x0403, 0x6010))

BOARDS = {
    facts.name: facts
    for facts in (
        BoardFacts(
            name="ulx3s-85f",
            title="Radiona ULX3S, 85F",
            chip="LFE5U-85F",
            platform="amaranth_boards.ulx3s:ULX3S_85F_Platform",
            family="ecp5",
            luts=83_640,
            multipliers=156,
            block_rams=208,
            memory="32 MB SDRAM",
            memory_bytes=32 << 20,
            link="UART over USB (FT231X)",
            usb=_FTDI,
            preset="small",
            clock_mhz=37.5,
            baud=1_500_000,
        ),
    )
}
"""Every board that a bitstream can be asked for."""


def board_named(name: str) -> BoardFacts:
    """Return the board of that name; raises `BoardError` when there is none."""
    if name in BOARDS:
        return BOARDS[name]
    near = get_close_matches(name, BOARDS, 3) or list(BOARDS)
    raise BoardError(f"there is no board {name!r}; there are {', '.join(near)}")
