"""Bringing accumulator stages into the form that the ALU has: the target is the first operand.

VTA's ALU computes acc[dst] = acc[dst] op operand. So a stage that makes a new tensor from an old
one takes over the old one's buffer where nobody needs that any more, and copies it elsewhere.
"""

from collections.abc import Sequence
from dataclasses import replace

from .expr import Binary, BinaryOp, Const, Expr, Read, Type
from .loops import Allocate, Block, Body, Buffer, For, Program, Statement, When, blocks, transform
from .schedule import Scope
from .walk import reads, rewrite


def in_place(program: Program) -> Program:
    """Let elementwise stages write over an operand that is dead afterwards.

        a = ACC ...; b = ACC ...
        a[i] = f(i)                     →    a = ACC ...
        b[i] = a[i] + c[i]                   a[i] = f(i)
        out[i] = b[i]                        a[i] += c[i]
                                             out[i] = a[i]

    Of a commutative operation either operand will do. Where none is free the first is copied:
    b[i] = 0; b[i] += a[i]; b[i] = b[i] op c[i].
    """
    body = transform(program.body, _without_subtraction)
    return replace(program, body=transform(_shared(body), _copied))


def _without_subtraction(block: Block) -> list[Statement]:
    """Return a block that subtracts a constant as one that adds its negative: ALU has no SUB."""
    match block.value:
        case Binary(BinaryOp.SUB, a, Const(value, Type.INT32)):
            negative = Const(-value, Type.INT32)
            return [replace(block, value=Binary(BinaryOp.ADD, a, negative))]
        case _:
            return [block]


def _shared(body: Body) -> Body:
    statements: list[Statement] = [
        replace(s, body=_shared(s.body)) if isinstance(s, For | When) else s for s in body
    ]
    number = 0
    while number < len(statements):
        statement = statements[number]
        for block in list(blocks((statement,))):
            taken = _taken(block, statements, number)
            if taken is not None:
                statements = _replaced(statements, block, *taken)
                number = -1  # places have moved; start again, with one buffer less
                break
        number += 1
    return tuple(statements)


def _taken(
    block: Block, statements: Sequence[Statement], number: int
) -> tuple[Buffer, Expr] | None:
    """Return the buffer that a block can take over, and the operand that is left."""
    target = block.target.tensor
    if (
        not isinstance(target, Buffer)
        or target.scope is not Scope.ACC
        or block.update is not None
        or not isinstance(block.value, Binary)
    ):
        return None
    here = {s.buffer for s in statements if isinstance(s, Allocate)}
    first, second = block.value.a, block.value.b
    pairs = [(first, second)]
    if block.value.op.is_commutative:
        pairs.append((second, first))
    for operand, other in pairs:
        if (
            isinstance(operand, Read)
            and isinstance(operand.tensor, Buffer)
            and operand.tensor is not target
            and {operand.tensor, target} <= here
            and operand.indices == block.target.indices
            and _same_place(operand.tensor, target)
            and all(r == operand for r in reads(other) if r.tensor is operand.tensor)
            and _dead(operand.tensor, block, statements, number)
        ):
            return operand.tensor, other
    return None


def _same_place(a: Buffer, b: Buffer) -> bool:
    mine = (a.scope, a.origin, a.step, a.counts, a.element)
    return mine == (b.scope, b.origin, b.step, b.counts, b.element)


def _dead(buffer: Buffer, block: Block, statements: Sequence[Statement], number: int) -> bool:
    """Return whether nobody but `block` uses the buffer in its statement or after it."""
    used = [other for other in blocks(tuple(statements[number:])) if _uses(other, buffer)]
    return used == [block]


def _uses(block: Block, buffer: Buffer) -> bool:
    return block.target.tensor is buffer or any(r.tensor is buffer for r in reads(block.value))


def _replaced(
    statements: Sequence[Statement], block: Block, taken: Buffer, other: Expr
) -> list[Statement]:
    """Return the statements with the block's own buffer gone, and `taken` in its place."""
    gone = block.target.tensor
    assert isinstance(gone, Buffer)
    copies = max(taken.copies, gone.copies)
    merged = taken.renamed(taken.name, {}, copies=copies) if copies > taken.copies else taken

    def change(part: Expr) -> Expr | None:
        if isinstance(part, Read) and part.tensor in (gone, taken):
            return Read(merged, part.indices)
        return None

    def rebuilt(old: Block) -> list[Statement]:
        new = old
        if old is block and isinstance(old.value, Binary):
            new = replace(old, update=old.value.op, value=other)
        target = rewrite(new.target, change)
        assert isinstance(target, Read)
        return [replace(new, target=target, value=rewrite(new.value, change))]

    kept = [s for s in statements if not (isinstance(s, Allocate) and s.buffer is gone)]
    swapped = [
        Allocate(merged) if isinstance(s, Allocate) and s.buffer is taken else s for s in kept
    ]
    return list(transform(tuple(swapped), rebuilt))


def _copied(block: Block) -> list[Statement]:
    """Return a block that still makes a new tensor from others as steps on the new one."""
    target = block.target.tensor
    on_chip = isinstance(target, Buffer) and target.scope is Scope.ACC
    zero = Const(0, Type.INT32)
    if not on_chip or block.update is not None or block.value == zero:
        return [block]
    begin = replace(block, value=zero)
    match block.value:
        case Const() | Read(Buffer(scope=Scope.ACC)):
            return [begin, replace(block, update=BinaryOp.ADD)]
        case Binary(op, a, b):
            add = replace(block, update=BinaryOp.ADD, value=a)
            return [begin, add, replace(block, update=op, value=b)]
        case _:
            return [block]
