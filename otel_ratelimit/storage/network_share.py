"""The share of the room that the clients of one network may take of the in-process store.

A network must stop when it holds more than there is room left. One network alone thus gets half of the room,
n networks get 1 / (n + 1) each, and as much stays free for those that hold less. Network switches share their
memory between queues in this way (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
packet switches", IEEE/ACM Transactions on Networking 6(2), 1998).
"""

from __future__ import annotations

from otel_ratelimit.storage.memory_budget import MemoryBudget


def must_overflow(budget: MemoryBudget, network: int, room: int) -> bool:
    """Whether a new counter of `network` must go to an overflow bucket, with `room` bytes left."""
    return room < 0 or budget.networks[network % budget.network_slots] > room
