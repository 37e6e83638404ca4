"""The scheduler: owns contracts, and is the only writer of the ledger.

`core` and the modules it uses decide, and do nothing else; `service` runs them and the ledger;
`servicer` and `links` put them on gRPC; `__main__` wires a process.
"""
