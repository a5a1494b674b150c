"""The protocol of a rival, and the case that all rivals are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...compiler.network import Network

OTHER = ""
"""The layer that time belongs to which no layer of the network took."""


class RivalError(ValueError):
    """A rival that cannot take part: the reason, and what would do."""


@dataclass(frozen=True, eq=False)
class Case:
    """What is compared: a network, its inputs, and what it may run on.

    Attributes
    ----------
    model : Path
        The file as it was given.
    network : Network
        The same, and as integers.
    layers : tuple of str
        Names of the compiled network's layers, in order, to which rivals give their time.
    inputs : mapping of input name to array
    samples : sequence of such mappings
        What a float network was calibrated on; empty for others.
    threads : int
        That compute, the caller's included.
    cpus : tuple of int
        One for each thread; the caller's, who is pinned to it, is the first. A rival pins the
        threads that it starts to the others. Empty where threads cannot be pinned.
    """

    model: Path
    network: Network
    layers: tuple[str, ...]
    inputs: Mapping[str, NDArray[Any]]
    samples: Sequence[Mapping[str, NDArray[Any]]]
    threads: int
    cpus: tuple[int, ...]


class Rival(Protocol):
    """A way to compute the network, ready to be timed.

    Attributes
    ----------
    key : str
        What tables and the JSON document call it: "llvm", "llvm-float32", "cuda",
        "cuda-float32", "ort", "ort-int8", "openvino", "openvino-int8".
    name : str
        For people, with its version: "ONNX Runtime 1.32.0".
    arithmetic : str
        "int8" or "float32".
    ours : bool
        Whether it is this project's own code.
    exact : bool
        Whether its outputs must be those of the integer network, bit for bit; where the network
        ends with operators in float, within their rounding.
    detail : mapping of str to str
        How it is set up: settings by name, once it is prepared.
    """

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def arithmetic(self) -> str: ...
    @property
    def ours(self) -> bool: ...
    @property
    def exact(self) -> bool: ...
    @property
    def detail(self) -> Mapping[str, str]: ...

    def prepare(self) -> None:
        """Compile, allocate, and choose settings; called once, first.

        Raises
        ------
        RivalError
            When it cannot run this network, or not here.
        """
        ...

    def run(self) -> float:
        """Infer once; return the seconds that it took.

        Its threads may spin on for a while, which `cpus.quieten` waits for.
        """
        ...

    def layers(self) -> Mapping[str, float]:
        """Return seconds by layer of the case, and under `OTHER` what belongs to none.

        Called after measuring. They need not add up to the time of an inference: profiling costs
        time, and the report scales them.
        """
        ...

    def outputs(self) -> Mapping[str, NDArray[Any]]:
        """Return the outputs of the last inference, by the network's own names."""
        ...

    def close(self) -> None:
        """End its threads and give its memory back."""
        ...


Factory = Callable[[Case], "Rival | None"]
"""Makes a rival that is not prepared yet.

None when there is nothing to compare, RivalError when something is missing.
"""
