"""How busy the model's process is, which nobody can pretend."""

import asyncio
import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def seconds_until_idle(pid: int, *, within: float = 10.0) -> float:
    """Until the process stopped working. Idle is less than a tenth of one core over a fifth of a second."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.timeout(within):
        while True:
            at, used = clock(), processor_seconds(pid)
            await asyncio.sleep(0.2)
            if processor_seconds(pid) - used < 0.02:
                return at - began
