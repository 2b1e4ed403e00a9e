"""`retort rollback`: the version that was active before the last swap answers again."""

from __future__ import annotations

from service.cli.client import Client, model_path
from service.cli.options import DEFAULT_URL, Ca, Key, Model, Url
from service.cli.report import print_report

HELP = """Go back to the version that was active before the last swap.

It is never held against the gate: going back must always be possible. A rollback counts as a swap, so a second one
comes back to where the first began.

\b
Example:
  retort rollback digits

Prints the same as `retort swap`.

\b
Exit codes:
  0  the former version is active
  1  it is not: there was no swap to undo, or it cannot be loaded
  2  a mistyped option
"""


def rollback(model: Model, url: Url = DEFAULT_URL, key: Key = None, ca: Ca = None) -> None:
    """See `HELP`."""
    print_report(Client(url, key, ca).post(model_path("/v2/repository", model) + "/rollback", {}))
