"""Ledger and blobs in a PostgreSQL database, which several schedulers may share."""
