"""What a program can do wrong, as exceptions."""

from ..isa.registers import ErrorCode


class ProgramError(ValueError):
    """A program that does not mean anything on this machine.

    The message names the instruction by index and text, the field, its value and the limit.

    Attributes
    ----------
    code : ErrorCode
        What the hardware's error register says of it.
    instruction : int or None
        Index of the instruction that is wrong; None for a program of none.
    """

    def __init__(self, message: str, *, code: ErrorCode, instruction: int | None = None) -> None:
        self.code = code
        self.instruction = instruction
        super().__init__(message)


class DeadlockError(ProgramError):
    """Units that wait for each other, or for a token that nobody will send, for ever.

    The message says which instruction each of them is at and what it waits for.
    """
