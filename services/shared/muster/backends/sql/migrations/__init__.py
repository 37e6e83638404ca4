"""The ledger's migrations, run by `muster.backends.sql.migrate`."""
