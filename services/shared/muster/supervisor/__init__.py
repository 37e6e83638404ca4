"""Starts a mesh on this machine, keeps it running, and ends it without leaving anything behind.

    async with Mesh(Plan(data_dir), tell=print) as mesh:
        mesh.endpoints        # where the services are; everything is SERVING
        await stop.wait()

`muster up` is this with a terminal; `python -m muster.supervisor` is it without one. What runs is
written down in `mesh.json` of the data folder, where the other commands find it.
"""
