"""The ledger's tables, their migrations and the reads, for every SQL database."""
