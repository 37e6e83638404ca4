"""The template *monitoring*: whether things are up, what has changed, and a page that shows it.

    targets ─► probe (each target) ─► compare ─┬─ alert (where anything has changed)
                                               └─ page

It is meant to run on a schedule: each run looks once, compares with the run before it, publishes an
event on the topic `monitoring.alert` for every change, and keeps what it saw in `history/`. Runs
over the same folder should not overlap.

A target is a URL: `https://…` and `http://…` (status and content), `tcp://host:port` (whether it
takes connections), `grpc://host:port/service` (what its health service says) and, of the mesh
itself, `agents://kind` (whether any agent of that kind is ready). By default it looks at the mesh
that it runs on: each service's health, its HTTP endpoints, its ports, and its agents by kind.

| module | does |
|---|---|
| `targets` | what a URL asks for; which targets a mesh has |
| `probing` | looks at one target, once |
| `comparing` | what has changed since the last look |
| `history` | the folder of what was seen |
| `agents` | offers all that to the mesh |
"""
