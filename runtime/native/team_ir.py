"""What the threads of a team do outside Python, as LLVM IR: the inner loops and the barrier.

How a run begins, and why no thread sleeps through it: the caller claims the team, then looks
whether a worker is parked; a worker that wants to park says so, then looks whether the team is
claimed. All four are sequentially consistent, so at least one of the two sees the other. A caller
who sees a parked worker waits no longer than asked, and lets go, having begun nothing; a worker who
sees a claim stays.

Whoever waits looks at one word, `spins` times, then offers its CPU to others (`sched_yield`), who
may be those it waits for, and looks again.
"""
# pyright: basic
# (llvmlite has no types)

import ctypes
import time
from typing import Any

from llvmlite import ir

from .jit import Cpu
from .team_functions import Outcome, TeamState

_I32, _I64, _POINTER, _VOID = ir.IntType(32), ir.IntType(64), ir.PointerType(), ir.VoidType()


def _ir_type(kind: Any) -> Any:
    simple = {
        ctypes.c_int32: _I32,
        ctypes.c_uint32: _I32,
        ctypes.c_int64: _I64,
        ctypes.c_void_p: _POINTER,
    }
    return simple.get(kind) or ir.ArrayType(ir.IntType(8), ctypes.sizeof(kind))


_FIELDS = [field[0] for field in TeamState._fields_]
_STATE = ir.LiteralStructType([_ir_type(field[1]) for field in TeamState._fields_])
_TEAM = _STATE.as_pointer()
_ENTRY = ir.FunctionType(_VOID, [*[_POINTER] * 4, _I32, _I32])
_PAUSES = {"x86_64": ("llvm.x86.sse2.pause", []), "aarch64": ("llvm.aarch64.isb", [_I32(15)])}
_RUN_FIELDS = ("entry", "arena", "constants", "times")


def team_module(cpu: Cpu) -> Any:
    """Return a module of the functions of `TeamFunctions`, each named vtakit_..."""
    module = ir.Module("team")
    module.triple = cpu.triple
    for name, (kind, emit) in {
        "barrier": (ir.FunctionType(_VOID, [_TEAM]), _emit_barrier),
        "run": (ir.FunctionType(_I32, [_TEAM, *[_POINTER] * 4, _I64]), _emit_run),
        "work": (ir.FunctionType(_I32, [_TEAM, _I32]), _emit_work),
        "stop": (ir.FunctionType(_I32, [_TEAM]), _emit_stop),
    }.items():
        function = ir.Function(module, kind, f"vtakit_{name}")
        function.attributes.add("nounwind")
        emit(_Team(function, _PAUSES.get(cpu.architecture)), *function.args[1:])
    return module


def _emit_barrier(t: "_Team") -> None:
    """The last to arrive begins a new generation, which the others wait for."""
    b, threads = t.b, t.plain("threads", _I32)
    meet, wait, last, done = (t.block(name) for name in ("meet", "wait", "last", "done"))
    b.cbranch(b.icmp_signed(">", threads, _I32(1)), meet, done)
    b.position_at_end(meet)
    generation = t.load("generation", "monotonic")  # stays until this thread has arrived
    arrived = t.add("arrived", 1, "acq_rel")
    b.cbranch(b.icmp_signed("==", b.add(arrived, _I32(1)), threads), last, wait)
    b.position_at_end(last)
    t.store("arrived", _I32(0), "monotonic")
    t.store("generation", b.add(generation, _I32(1)), "release")
    b.branch(done)
    b.position_at_end(wait)
    changed, again = t.spin("generation", generation), t.block("again")
    b.cbranch(changed, done, again)
    b.position_at_end(again)
    t.offer_cpu()
    b.branch(wait)
    b.position_at_end(done)
    b.ret_void()


def _emit_run(t: "_Team", *given: Any) -> None:
    b, (*values, patience) = t.b, given
    claimed, wait, look, offer = map(t.block, ("claimed", "wait", "look", "offer"))
    awake, asleep, busy = map(t.block, ("awake", "asleep", "busy"))

    def all_awake() -> Any:
        return b.icmp_signed("==", t.load("parked", "seq_cst"), _I32(0))

    b.cbranch(t.claim(), claimed, busy)
    b.position_at_end(claimed)
    b.cbranch(all_awake(), awake, wait)

    b.position_at_end(awake)
    for field, value in zip(_RUN_FIELDS, values, strict=True):
        b.store(value, t.at(field))
    t.store("epoch", b.add(t.load("epoch", "monotonic"), _I32(1)), "release")
    t.call_entry(_I32(0))
    t.store("claimed", _I32(0), "release")
    b.ret(_I32(Outcome.DONE))

    b.position_at_end(wait)  # claimed, so that those who come stay
    deadline = b.add(t.now(), patience)
    b.branch(look)
    b.position_at_end(look)
    b.cbranch(all_awake(), awake, offer)
    b.position_at_end(offer)
    t.offer_cpu()
    b.cbranch(b.icmp_signed("<", t.now(), deadline), look, asleep)
    b.position_at_end(asleep)
    t.store("claimed", _I32(0), "release")
    b.ret(_I32(Outcome.ASLEEP))

    b.position_at_end(busy)
    b.ret(_I32(Outcome.BUSY))


def _emit_work(t: "_Team", thread: Any) -> None:
    b = t.b
    idle, wait, called, unmoved, offer = map(
        t.block, ("idle", "wait", "called", "unmoved", "offer")
    )
    park, parked, stay, stopped = map(t.block, ("park", "parked", "stay", "stopped"))
    first = t.load("epoch", "acquire")  # nothing is begun before this worker says it is here
    t.add("parked", -1, "seq_cst")
    begin = b.block
    b.branch(idle)

    b.position_at_end(idle)
    seen = b.phi(_I32)
    seen.add_incoming(first, begin)
    deadline = b.add(t.now(), t.plain("idle_ns", _I64))
    b.branch(wait)

    b.position_at_end(wait)
    b.cbranch(t.spin("epoch", seen), called, unmoved)

    b.position_at_end(called)
    t.call_entry(thread)
    seen.add_incoming(b.add(seen, _I32(1)), called)  # nobody begins another before all have met
    b.branch(idle)

    b.position_at_end(unmoved)
    b.cbranch(b.icmp_signed("!=", t.load("stopping", "acquire"), _I32(0)), stopped, offer)
    b.position_at_end(offer)
    t.offer_cpu()
    b.cbranch(b.icmp_signed("<", t.now(), deadline), wait, park)

    b.position_at_end(park)
    t.add("parked", 1, "seq_cst")
    b.cbranch(b.icmp_signed("==", t.load("claimed", "seq_cst"), _I32(0)), parked, stay)
    b.position_at_end(parked)
    b.ret(_I32(0))
    b.position_at_end(stay)
    t.add("parked", -1, "seq_cst")
    seen.add_incoming(seen, stay)
    b.branch(idle)

    b.position_at_end(stopped)
    b.ret(_I32(1))


def _emit_stop(t: "_Team") -> None:
    b, free, busy = t.b, t.block("free"), t.block("busy")
    b.cbranch(t.claim(), free, busy)
    b.position_at_end(free)
    t.store("stopping", _I32(1), "release")
    b.ret(_I32(Outcome.DONE))
    b.position_at_end(busy)
    b.ret(_I32(Outcome.BUSY))


class _Team:
    """The team, the first argument of a function, as its code sees it."""

    def __init__(self, function: Any, pause: tuple[str, list[Any]] | None) -> None:
        self.function, self.pointer, self.pause = function, function.args[0], pause
        self.b = ir.IRBuilder(function.append_basic_block("begin"))
        self._timespec = self.b.alloca(_I64, 2)

    def block(self, name: str) -> Any:
        return self.function.append_basic_block(name)

    def at(self, field: str) -> Any:
        """Return where a field is."""
        return self.b.gep(self.pointer, [_I32(0), _I32(_FIELDS.index(field))], inbounds=True)

    def plain(self, field: str, kind: Any) -> Any:
        """Load what nobody writes meanwhile."""
        return self.b.load(self.at(field), typ=kind)

    def load(self, field: str, ordering: str) -> Any:
        return self.b.load_atomic(self.at(field), ordering, 4)

    def store(self, field: str, value: Any, ordering: str) -> None:
        self.b.store_atomic(value, self.at(field), ordering, 4)

    def add(self, field: str, value: int, ordering: str) -> Any:
        """Add, and return what was there."""
        return self.b.atomic_rmw("add", self.at(field), _I32(value), ordering)

    def claim(self) -> Any:
        """Take the team for one caller; whether it was free."""
        at = self.at("claimed")
        return self.b.extract_value(self.b.cmpxchg(at, _I32(0), _I32(1), "seq_cst", "seq_cst"), 1)

    def call_entry(self, thread: Any) -> None:
        """Do one thread's part of a run, and wait for the others'."""
        entry = self.plain("entry", _ENTRY.as_pointer())
        given = [self.plain(field, _POINTER) for field in _RUN_FIELDS[1:]]
        self.b.call(entry, [*given, self.pointer, thread, self.plain("threads", _I32)])
        self.b.call(self.function.module.get_global("vtakit_barrier"), [self.pointer])

    def spin(self, field: str, old: Any) -> Any:
        """Look at a word while it is `old`, at most `spins` times and once; whether it changed."""
        b, spins, before = self.b, self.plain("spins", _I32), self.b.block
        look, wait, done = (self.block(f"{name}_{field}") for name in ("look", "pause", "looked"))
        b.branch(look)
        b.position_at_end(look)
        left = b.phi(_I32)
        left.add_incoming(spins, before)
        changed = b.icmp_unsigned("!=", self.load(field, "acquire"), old)
        b.cbranch(b.or_(changed, b.icmp_signed("<=", left, _I32(0))), done, wait)
        b.position_at_end(wait)
        if self.pause is not None:  # else the loop does without
            name, given = self.pause
            b.call(self._external(name, _VOID, *(value.type for value in given)), given)
        left.add_incoming(b.sub(left, _I32(1)), wait)
        b.branch(look)
        b.position_at_end(done)
        return changed

    def offer_cpu(self) -> None:
        self.b.call(self._external("sched_yield", _I32), [])

    def now(self) -> Any:
        """Return nanoseconds of a clock that only goes on."""
        b, clock = self.b, self._external("clock_gettime", _I32, _I32, _POINTER)
        b.call(clock, [_I32(time.CLOCK_MONOTONIC), self._timespec])
        seconds = b.load(self._timespec, typ=_I64)
        rest = b.load(b.gep(self._timespec, [_I64(1)], source_etype=_I64), typ=_I64)
        return b.add(b.mul(seconds, _I64(1_000_000_000)), rest)

    def _external(self, name: str, result: Any, *arguments: Any) -> Any:
        known = self.function.module.globals.get(name)
        return known or ir.Function(self.function.module, ir.FunctionType(result, arguments), name)
