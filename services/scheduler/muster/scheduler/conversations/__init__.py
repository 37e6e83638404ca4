"""Conversations: contracts found together, who did what in them, and the memory made of them.

`excerpts`, `matching` and `summary` decide and do nothing else. The others read the ledger, which
every scheduler can read all of; only making memory is for the owner of the conversation's shard.
"""
