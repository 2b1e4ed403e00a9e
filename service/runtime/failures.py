"""What ONNX Runtime raises, as errors of ours with one clean sentence.

Its texts hold source files, C++ signatures and paths, which a client must not see. Texts as of ONNX Runtime 1.31.
"""

from __future__ import annotations

import re

from service.core.errors import BadInput, BadModel, DoesNotFit, RetortError, RunFailed, Stuck
from service.runtime.onnx_runtime import errors as ort_errors

_READ_CHARACTERS = 4_000
_LIMIT_CHARACTERS = 300

_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
# file.cc:12, then a function: either its whole C++ signature, or its bare name. Texts may hold what a model's author
# wrote, so nothing here backtracks.
_SOURCE = re.compile(
    r"(?<!\S)[^\s:]++(?:(?<=\.cc)|(?<=\.cu)|(?<=\.h)):\d++ "
    r"(?:(?=[^()\n:]*+::)[^()\n]*+\((?:[^()]++|\([^()]*+\))*+\)(?: const)?(?:::<lambda\([^()]*+\)>)? |[A-Z]\w++ )?"
)
_NODE = re.compile(r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ")
_EXTERNAL = re.compile(r"External (?:file|data path)\b|should be stored in ")
# CUDA's memory limit and libraries, and what the system says where there is no room for a thread's stack, come last.
_NO_MEMORY = re.compile(
    r"Failed to allocate memory|std::bad_alloc|bad allocation|[Oo]ut of memory"
    r"|is smaller than requested bytes|STATUS_ALLOC_FAILED|Cannot allocate memory"
)
_OVERFLOW = "SafeIntOnOverflow"


def load_failure(error: Exception) -> RetortError:
    """The error for what was raised while a session was built: Stuck if cancelled, DoesNotFit, or BadModel."""
    text = str(error)
    if isinstance(error, ort_errors.ModelLoadCanceled):
        return Stuck("the load was cancelled")
    if ran_out_of_memory(error):
        return DoesNotFit("there is not enough memory to load this version")
    if _EXTERNAL.search(text):
        return BadModel(
            "the model's external data is not among its files, or belongs to a subgraph or a function,"
            " whose weights must be inside the model file"
        )
    return BadModel(f"the model cannot be loaded: {sentence(text)}")


def run_failure(error: Exception) -> RetortError:
    """The error for what was raised by a run: BadInput where the arrays are to blame, else RunFailed."""
    if isinstance(error, UnicodeDecodeError):
        return RunFailed("an output holds a string that is not UTF-8")
    if ran_out_of_memory(error):
        return RunFailed("there is not enough memory for this run")
    blame = BadInput if isinstance(error, ort_errors.InvalidArgument | ValueError) else RunFailed
    return blame(sentence(str(error)))


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an allocation failed."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def broke_the_arena(error: Exception) -> bool:
    """Whether an allocation failed, or was of a size that no number holds, which may leave later ones failing."""
    return ran_out_of_memory(error) or _OVERFLOW in str(error)


def sentence(text: str) -> str:
    """ONNX Runtime's text without its prefix, source positions and line breaks, at most 300 characters."""
    text = _PREFIX.sub("", text[:_READ_CHARACTERS])
    text = _NODE.sub(lambda node: f"{node[1]} node '{node[2]}': ", text)
    text = _SOURCE.sub("", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _LIMIT_CHARACTERS else f"{text[:_LIMIT_CHARACTERS]}..."
