"""The child of `deep_apart`: `python -m service.repository.deep_child LIMIT_BYTES MEMORY_BYTES DEADLINE_S PARENT_PID`.

Decodes what comes through standard input to standard output; what is wrong with it goes to standard error.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from service.core.confine import confine
from service.core.errors import BadModel
from service.core.orphan import die_with
from service.repository.deep_codec import decode

REFUSED = 3  # the exit code beside a sentence; any other but 0 is a crash


def main(arguments: Sequence[str]) -> int:
    """Bounds this process, and decodes; the exit code."""
    limit_bytes, memory_bytes, deadline_s, parent_pid = (int(argument) for argument in arguments)
    die_with(parent_pid)
    signal.alarm(deadline_s)
    confine(memory_bytes)
    try:
        whole = decode(sys.stdin.buffer.read(), limit_bytes=limit_bytes)
        sys.stdout.buffer.write(whole)
    except BadModel as error:
        sys.stderr.write(str(error))
        return REFUSED
    except MemoryError:
        sys.stderr.write("model.deep needs more memory to be decoded than a file of its size may take.")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
