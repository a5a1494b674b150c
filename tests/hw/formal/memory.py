"""Memory as the proofs have it: it does at any time what AXI4 lets it do."""

from typing import Any

from amaranth.hdl import Module, Signal

from .proof import Proof, count

MOST = 15


def answering(proof: Proof, m: Module, axi: Any) -> Any:
    """Play the memory behind AW, W and B; return how many bursts it has answered.

    It takes addresses and words at will, each for itself, and answers a burst when it has taken all
    of it, perhaps in that cycle (IHI 0022E, A3.3.1).
    """
    addressed, ended = axi.awvalid & axi.awready, axi.wvalid & axi.wready & axi.wlast
    addresses = count(m, MOST, addressed, name="memory_addresses")
    ends = count(m, MOST, ended, name="memory_ends")
    answers = Signal(range(MOST + 1))
    both = (addresses + addressed > answers) & (ends + ended > answers)
    m.d.comb += [
        axi.awready.eq(proof.free(1, "awready")),
        axi.wready.eq(proof.free(1, "wready")),
        axi.bresp.eq(proof.free(2, "bresp")),
        axi.bvalid.eq(proof.free(1, "answers") & both),
    ]
    m.d.sync += answers.eq(answers + axi.bvalid)
    return answers
