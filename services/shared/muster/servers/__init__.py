"""The servers that a mesh of many machines stands on, found and run on this one.

    server = await asyncio.to_thread(postgres.prepare, folder, free_port())
    async with ServerProcess(server) as process:
        server.url            # it answers there

`finding` knows where programs are, one module per server how it is started and when it answers,
`known` lists them. `muster up --with …` keeps them running; tests run them with `ServerProcess`.
What somebody else runs is none of this package's business: it is only asked whether it answers.
"""
