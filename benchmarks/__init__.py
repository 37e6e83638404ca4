"""Measures the mesh beside its peers, in the same run on the same machine: `make bench`."""
