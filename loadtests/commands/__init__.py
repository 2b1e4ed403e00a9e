"""Commands that the load tests add to `retort`."""
