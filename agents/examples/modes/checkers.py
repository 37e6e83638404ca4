"""Who opens ports for autonomous.yaml: one gives up soon, the other one does not."""

import asyncio

from muster.agent import Agent, Failed

hasty = Agent("hasty", kind="checking", max_in_flight=16)
patient = Agent("patient", kind="checking", max_in_flight=16)


@hasty.capability("port.check")
async def check(address: str) -> str:
    """Whether something listens at an address, like 127.0.0.1:7171; within half a second."""
    return await opened(address, 0.5)


@patient.capability("port.check_patiently")
async def check_patiently(address: str) -> str:
    """The same, within five seconds."""
    return await opened(address, 5.0)


async def opened(address: str, seconds: float) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise Failed("NO_ADDRESS", f"{address!r} is not like 127.0.0.1:7171", permanent=True)
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, int(port))
    except TimeoutError:
        raise Failed("TIMEOUT", f"{address} says nothing in {seconds} s") from None
    except OSError:
        raise Failed("CLOSED", f"nothing listens at {address}") from None
    writer.close()
    return address
