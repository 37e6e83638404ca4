"""Four ways to run an agent, each a module of its own; an agent may use several, or none.

`collaborative`: plans, has others do the parts, and asks a person where something is unclear.
`autonomous`: works through a list of tasks round robin, with at most two retries each.
`continuous`: hears events for weeks, and goes on from its state after a crash.
`scheduled`: is called by the mesh when it is time.
"""
