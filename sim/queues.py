"""Who passes tokens to whom."""

from ..isa.instructions import Unit
from .jit import constant

UNITS = len(Unit)
LOAD, COMPUTE, STORE = constant(Unit.LOAD), constant(Unit.COMPUTE), constant(Unit.STORE)
MATRIX = constant(Unit.MATRIX)

TOKEN_QUEUES = ("load->compute", "compute->load", "compute->store", "store->compute")

NO_QUEUE = -1
POPPED = ((NO_QUEUE, 1), (0, 3), (2, NO_QUEUE), (0, 3))
"""The token queues that pop_prev and pop_next take from, by unit."""

PUSHED = ((NO_QUEUE, 0), (1, 2), (3, NO_QUEUE), (1, 2))
"""The token queues that push_prev and push_next give to, by unit."""

PRODUCER = (LOAD, COMPUTE, COMPUTE, STORE)
CONSUMER = (COMPUTE, LOAD, STORE, COMPUTE)
"""The units that give to each token queue, and that take from it; for COMPUTE, MATRIX too."""

MASK = 3
"""Units and token queues are numbered under 4. A number that has been masked cannot be negative,
which spares compiled code the question at every array that it indexes."""
