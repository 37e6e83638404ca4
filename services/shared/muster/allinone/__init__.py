"""All services in one process, on embedded backends: wiring, and nothing else."""
