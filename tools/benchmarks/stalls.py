"""A loop that does nothing, 100 times a second with SCHED_FIFO: what it is late by is the machine's doing.

`python -m tools.benchmarks.stalls NOTES`: runs until SIGTERM, then writes NOTES (npz): `late_ns` of turns.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from array import array

import numpy as np
import uvloop

from vlad import realtime
from vlad.clock import NS_PER_S, SystemClock, Ticker


async def _measure(late_ns: array[int]) -> None:
    ticker = Ticker(NS_PER_S // 100, SystemClock())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ticker.close)
    ticker.start()
    while True:
        late_ns.append((await ticker.wait()).late_ns)


def main() -> None:
    late_ns = array("q")
    realtime.fifo(50)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_measure(late_ns))
    except asyncio.CancelledError:
        np.savez(sys.argv[1], late_ns=np.array(late_ns, np.int64))


if __name__ == "__main__":
    main()
