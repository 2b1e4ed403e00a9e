"""The end of a cradle: nothing of it is left, and it kills nothing but its own."""

from __future__ import annotations

import subprocess
import sys

# A child and its own child, both of which only SIGKILL ends: the second becomes the cradle's once the first has ended.
FAMILY = """
import os, signal, sys
from service.core import orphan
from service.runtime.isolation import cradle

orphan.adopt()
ready, begun = os.pipe()
child = os.fork()
if child == 0:
    os.fork()
    os.write(begun, b".")
    signal.pause()
for _ in range(2):
    os.read(ready, 1)
killed, unknown = [], []

def note(event, args):
    if event == "os.kill":
        (killed if os.path.exists(f"/proc/{args[0]}") else unknown).append(args[0])

sys.addaudithook(note)
cradle._end_all({child})
print(len(set(killed)), len(unknown))
"""


def test_all_of_it_is_killed_and_nobody_after_it_was_reaped() -> None:
    """Its number may be another process's by then."""
    told = subprocess.run([sys.executable, "-c", FAMILY], capture_output=True, text=True, timeout=30, check=True)
    assert told.stdout.split() == ["2", "0"]
