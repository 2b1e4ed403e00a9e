"""The command `retort`: `command_line` puts it together, and each command is a file of its own."""

from service.cli.command_line import main

__all__ = ["main"]
