"""The engine's workers: they run workflows on Temporal, which keeps them alive.

What a run is made of is in the scheduler's ledger, and nothing here is the record of anything: a
run's workflow in Temporal (`workflow`) folds the entries of its journal with the interpreter that
the local engine has, too, and has done what follows from them by calling the scheduler
(`activities`). Every committed entry comes from the scheduler (`following`) and is signalled to its
workflow (`delivering`), which is started with that where Temporal does not have it.
"""
