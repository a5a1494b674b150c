"""What a network came to on an engine, whichever it is: the report of `vtakit run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .network import finite
from .report import NetworkReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..compiler.check import Check

PHASES = (
    ("prepare", "prepare the simulator", ".1f"),
    ("compile", "compile the network", ".1f"),
    ("run", "run", ".2f"),
)
"""Keys of `Ran.seconds`, what they are called, and how they are written."""

FloatDistance = Mapping[str, float | None]
"""How far outputs are from those of the model as given: cosine, max_abs_difference."""


@dataclass(frozen=True, eq=False)
class Ran:
    """A network that ran.

    Attributes
    ----------
    rows : NetworkReport
    outputs : mapping of str to array
    check : Check
    against : str
        What it was checked against: "integer reference".
    unit : str
        What was compared: "layers" on VTA, or the network's "outputs".
    seconds : mapping of str to float
        Of each phase: "prepare" (the simulator), "compile", "run".
    show : function of NetworkReport
        Prints the table.
    lines : mapping of str to str
        More for people, by label.
    config : mapping or None
        The machine, where there is one.
    facts : mapping
        More keys of the JSON document.
    write_trace : function of a path, or None
        Writes the timeline, where the engine makes one.
    """

    rows: NetworkReport
    outputs: Mapping[str, NDArray[Any]]
    check: Check
    against: str
    unit: str
    seconds: Mapping[str, float]
    show: Callable[[NetworkReport], None]
    lines: Mapping[str, str]
    config: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    write_trace: Callable[[Path], None] | None = None

    def document(self, model: Path, engine: str, distance: FloatDistance | None) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "model": str(model),
            "config": self.config,
            "engine": engine,
            **self.facts,
            "checked": {
                "against": self.against,
                "equal": self.check.equal,
                "max_abs_difference": finite(self.check.max_abs_difference),
                f"{self.unit}_compared": self.check.compared,
                f"{self.unit}_differing": list(self.check.layers),
            },
            "float": distance,
            **self.rows.document(),
            "seconds": self.seconds,
        }

    def print(self, distance: FloatDistance | None) -> None:
        """Print the table, the verdict, and what else there is to say."""
        self.show(self.rows)
        lines = {"checked": self._verdict()}
        if distance is not None:
            cosine, difference = (
                "not finite" if value is None else f"{value:.5g}" for value in distance.values()
            )
            lines["float"] = (
                f"cosine {cosine}, largest difference {difference}, against ONNX Runtime"
            )
        phases = (
            f"{title} {self.seconds[key]:{form}}"
            for key, title, form in PHASES
            if key in self.seconds
        )
        lines = {**lines, **self.lines, "seconds": ", ".join(phases)}
        for label, text in lines.items():
            print(f"{label:12} {text}")

    def _verdict(self) -> str:
        check = self.check
        unit = self.unit if check.compared != 1 else self.unit.removesuffix("s")
        where = " on VTA" if self.unit == "layers" else ""
        text = f"{check.compared} {unit}{where} against the {self.against}: "
        if not check.equal:
            return f"{text}DIFFERENT in {', '.join(check.layers)}"
        if check.max_abs_difference:
            return f"{text}equal within {check.max_abs_difference:.2g}"
        return f"{text}equal"
