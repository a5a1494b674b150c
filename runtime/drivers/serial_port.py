"""Serial ports of this machine: which one has a board, and bytes over it, by pyserial."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...isa.config import Config
from .device import DeviceError
from .serial import SerialDevice
from .serial_link import SerialLink


@dataclass(frozen=True)
class SerialOptions:
    """How a board is reached.

    Attributes
    ----------
    board : str
        Its name, for messages.
    baud : int
    usb : sequence of (int, int)
        Vendor and product of its USB bridge.
    port : str or None
        The port's name; None: the only one with such a bridge.
    slowness : float
        By how much it is slower than hardware: 1, and more for a simulated board.
    """

    board: str
    baud: int
    usb: Sequence[tuple[int, int]] = ()
    port: str | None = None
    slowness: float = 1.0


def open_serial(
    config: Config, options: SerialOptions, say: Callable[[str], None] | None = None
) -> SerialDevice:
    """Open a board; raises `DeviceError` when there is none, or another one."""
    port = options.port or find_port(options)
    if say:
        say(f"connecting to {options.board} at {port}")
    line = PortLine(port, options.baud)
    try:
        link = SerialLink(line, port, baud=options.baud, slowness=options.slowness)
        return SerialDevice(config, link)
    except BaseException:
        line.close()
        raise


def find_port(options: SerialOptions) -> str:
    """Return the port with a board's bridge.

    Raises
    ------
    DeviceError
        When there is none, or more than one.
    """
    _pyserial()
    from serial.tools import list_ports

    ports: list[Any] = list(list_ports.comports())
    found = [str(one.device) for one in ports if (one.vid, one.pid) in options.usb]
    if len(found) == 1:
        return found[0]
    if found:
        raise DeviceError(f"{options.board} may be at {', '.join(found)}: say which with --port")
    others = ", ".join(str(one.device) for one in ports) or "none"
    raise DeviceError(
        f"no port has the USB bridge of {options.board} (serial ports: {others}); connect the "
        f"board, or name its port with --port"
    )


@dataclass
class PortLine:
    """A port of pyserial as a `serial_link.Line`."""

    name: str
    baud: int
    _port: Any = field(init=False)

    def __post_init__(self) -> None:
        serial = _pyserial()
        try:
            self._port = serial.Serial(self.name, self.baud, timeout=0, exclusive=True)
            self._port.reset_input_buffer()
        except (OSError, ValueError) as error:
            raise DeviceError(_why(self.name, error)) from None

    def write(self, data: bytes) -> None:
        """Send bytes; raises `OSError` when the port is gone."""
        self._port.write(data)

    def read(self, seconds: float) -> bytes:
        """Return what has come; raises `OSError` when the port is gone."""
        self._port.timeout = seconds
        first: bytes = self._port.read(1)
        return first + self._port.read(self._port.in_waiting) if first else b""

    def close(self) -> None:
        """Let go of it."""
        self._port.close()


def _pyserial() -> Any:
    try:
        import serial
    except ImportError:
        raise DeviceError("boards need pyserial: pip install 'vtakit[serial]'") from None
    return serial


def _why(name: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    text = os.strerror(number) if isinstance(number, int) else str(error)
    if number == 2:
        return f"there is no port {name}"
    if number == 13:
        return f"port {name} is not ours to open ({text}); add yourself to the group that owns it"
    if "exclusively lock" in str(error) or number in (11, 16):
        return f"port {name} is busy: another program has it open"
    return f"port {name} cannot be opened: {text}"
