"""What every part of the mesh agrees on: states, ids, versions, limits and errors.

Standard library only, and no input or output, so that cores, SDK and tests can all rest on it.
"""
