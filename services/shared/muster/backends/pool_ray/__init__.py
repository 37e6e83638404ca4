"""Hosts as actors of Ray, on this machine or on a cluster.

    RayPool ──socket──▶ driver process ──Ray──▶ actor processes, a host in each

Ray is imported in the driver and in the actors only: where it runs on this machine, a dozen
processes come with it, which end with the driver's process group, and its signal handlers and
threads are no business of the supervisor. Nothing of the work goes through Ray: a host connects to
the mesh as any other does, and its reports come back through its session and the fence.
"""
