"""Hosts as actors of Ray, on this machine or on a cluster.

    RayPool ──socket──▶ driver process ──Ray──▶ actor processes, a host in each

Ray is imported in the driver and in the actors only: where it runs on this machine, a dozen
processes come with it, which end with the driver's process group, and its signal handlers and
threads are no business of the supervisor. Nothing of the work goes through Ray: a host connects to
the mesh as any other does, and its reports come back through its session and the fence.

Measured on two cores with Ray 2.60: a Ray of our own is there after 5 to 10 s, and consists of
eight processes with 375 MB of their own, the driver included; an actor adds 48 MB before its host
does anything. With two idle hosts all of it takes 3 % of a core. It listens on every interface,
whatever it is told; so it asks for a token that only its pool knows.
"""
