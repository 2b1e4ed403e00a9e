"""Which version answers, and how it is replaced under traffic."""
