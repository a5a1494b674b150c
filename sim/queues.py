"""Who passes tokens to whom, and how many instructions a unit may have under way."""

from ..isa.instructions import Unit

LOAD_TO_COMPUTE, COMPUTE_TO_LOAD, COMPUTE_TO_STORE, STORE_TO_COMPUTE = range(4)
TOKEN_QUEUES = ("load->compute", "compute->load", "compute->store", "store->compute")

_NONE = -1
POPPED: dict[Unit, tuple[int, int]] = {
    Unit.LOAD: (_NONE, COMPUTE_TO_LOAD),
    Unit.COMPUTE: (LOAD_TO_COMPUTE, STORE_TO_COMPUTE),
    Unit.STORE: (COMPUTE_TO_STORE, _NONE),
}
"""The token queues that pop_prev and pop_next of each unit take from."""

PUSHED: dict[Unit, tuple[int, int]] = {
    Unit.LOAD: (_NONE, LOAD_TO_COMPUTE),
    Unit.COMPUTE: (COMPUTE_TO_LOAD, COMPUTE_TO_STORE),
    Unit.STORE: (STORE_TO_COMPUTE, _NONE),
}
"""The token queues that push_prev and push_next of each unit give to."""

PRODUCER = (Unit.LOAD, Unit.COMPUTE, Unit.COMPUTE, Unit.STORE)
"""The unit that gives to each token queue."""

IN_FLIGHT = 8
"""Instructions of one unit that have started and not ended, at most."""
