"""The workshop's commands of `retort`, one file each; a command parses, calls, prints, and does no work of its own."""
