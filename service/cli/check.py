"""`retort check`: is everything in this repository fit to be served?"""

HELP = """Load every version.

\b
Examples:
  retort check models/repository

Prints a line.

\b
Exit codes:
  0  every version can be served
  1  at least one cannot
  2  a mistyped option
"""


def check() -> None:
    """X."""
