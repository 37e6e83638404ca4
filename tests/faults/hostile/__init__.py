"""Clients that mean harm, against a real mesh process over real sockets.

Each hostile client is one coroutine function in `roster.HOSTILE`, by name:

    async def some_client(ground: Ground, size: Size) -> list[Figure]

It lays its siege on the mesh of `ground`, for as long and with as many as `size` says, and returns
what was measured beside its bar. A `Figure` says `name`, `measured`, `bar`, `unit` and whether it
is `met`; `str(figure)` is a line for people. Figures never raise: whoever asks decides.

    async with battleground(folder) as ground:      # a mesh process, an honest host and client
        for name, lay_siege in HOSTILE.items():
            figures = await lay_siege(ground, LONG)

Every siege tells at least: memory of the mesh beyond what it had before, at its highest (MB); the
99th percentile of an honest client's contracts meanwhile (s); its contracts that failed; and
complaints, which are lines of level error in the mesh's log, or its end.

`python -m tests.faults.hostile [NAME …]` runs the long form and prints a table.
"""
