"""Events: what agents hear of on the bus, and what they publish to topics."""
