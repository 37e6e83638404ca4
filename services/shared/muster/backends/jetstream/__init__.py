"""`Bus` on NATS JetStream."""
