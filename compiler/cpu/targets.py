"""CPUs that code can be compiled for, by the names that users give them."""

from difflib import get_close_matches

from ...runtime.native.jit import Cpu, this_cpu

SYSTEM = "unknown-linux-gnu"

_V2 = ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
BASES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "x86-64": ("x86_64", "x86-64", ()),
    "x86-64-v2": ("x86_64", "x86-64-v2", _V2),
    "x86-64-v3": ("x86_64", "x86-64-v3", _V3),
    "x86-64-v4": ("x86_64", "x86-64-v4", _V4),
    "aarch64": ("aarch64", "generic", ("neon",)),
}
"""Architecture, LLVM's name and features of each; the levels of x86 are those of its psABI."""

FEATURES: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {"avx512vnni": _V4, "avxvnni": _V3},
    "aarch64": {"dotprod": ("neon",)},
}
"""What makes code better where a CPU has it, and what that needs."""

NATIVE = "native"


class TargetError(ValueError):
    """A name of a CPU that is none."""


def target(text: str) -> Cpu:
    """Return the CPU of a name: `native`, or a base with features, as `aarch64+dotprod`.

    Raises
    ------
    TargetError
        For a name or a feature that is not known, or a feature that the base cannot have.
    """
    if text == NATIVE:
        return this_cpu()
    name, *extra = text.split("+")
    if name not in BASES:
        raise TargetError(
            f"target {text!r}: there is no CPU {name!r}{_near(name, [NATIVE, *BASES])}"
        )
    architecture, cpu, features = BASES[name]
    known = FEATURES[architecture]
    for feature in extra:
        if feature not in known:
            raise TargetError(
                f"target {text!r}: {name} has no feature {feature!r} that changes code; "
                f"there are {', '.join(known)}"
            )
        missing = [one for one in known[feature] if one not in features]
        if missing:
            raise TargetError(f"target {text!r}: {feature} needs {_least(known[feature])} or above")
    names = dict.fromkeys((*features, *extra))
    return Cpu(f"{architecture}-{SYSTEM}", cpu, ",".join(f"+{one}" for one in names))


def _least(features: tuple[str, ...]) -> str:
    """Return the first base that has these features."""
    return next(name for name, (_, _, own) in BASES.items() if set(features) <= set(own))


def _near(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
