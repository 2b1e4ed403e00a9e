"""What a run may fail with, each a sentence for whoever asked for it."""

from __future__ import annotations

from loadtests.generator.process import GeneratorDied
from loadtests.rows import BadRows
from loadtests.scenario import BadScenario
from loadtests.server import CannotLoad
from loadtests.traces import BadTrace

FAILURES = (CannotLoad, BadRows, BadScenario, BadTrace, GeneratorDied, OSError)
