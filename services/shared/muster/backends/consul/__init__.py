"""The directory in Consul."""
