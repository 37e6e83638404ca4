"""The executor: holds the sessions of agent hosts, hands them work and judges them."""
