"""A runner of a stateful version: shows what its clients send and get, and runs with states and controls as well.

Without them a run is a sequence of one request: what a load tries a version with, and what its health probe sends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from service.core.contract import Array, Arrays, SequenceStep, TensorSpec
from service.core.errors import BadModel
from service.repository.model_config import ModelConfig
from service.runtime.runner import Runner
from service.serving.state_plan import StatePlan, plan_states

_ONE_STEP = SequenceStep(1, start=True, end=True)


class StatefulRunner:
    """A `Runner` around the graph's own.

    Args:
        runner: takes and gives every tensor of the graph.
        plan: which of them are states and controls.
    """

    def __init__(self, runner: Runner, plan: StatePlan) -> None:
        self.plan = plan
        self._runner = runner
        self.stop: Callable[[], None] = runner.stop
        self.close: Callable[[], None] = runner.close

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The client's inputs."""
        return self.plan.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The client's outputs."""
        return self.plan.outputs

    @property
    def omitted_outputs(self) -> tuple[str, ...]:
        """As the graph's own."""
        return self._runner.omitted_outputs

    @property
    def provider(self) -> str:
        """As the graph's own."""
        return self._runner.provider

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """Runs the graph.

        Args:
            arrays: the client's inputs, and states and controls with rows on the first axis; those that are left out
                are filled in as those of a sequence's only request.

        Returns:
            Every output of the graph, states with rows on the first axis.

        Raises:
            BadInput, RunFailed, Stuck: as the graph's own.
        """
        given = {**self._missing(arrays), **arrays}
        for state in self.plan.states:
            if state.input_axis:
                given[state.input] = np.moveaxis(given[state.input], 0, state.input_axis)
        outputs = self._runner.run(given)
        for state in self.plan.states:
            if state.output_axis:
                outputs[state.output] = np.moveaxis(outputs[state.output], state.output_axis, 0)
        return outputs

    def _missing(self, arrays: Arrays) -> dict[str, Array]:
        plan = self.plan
        if all(state.input in arrays for state in plan.states) and all(c.spec.name in arrays for c in plan.controls):
            return {}
        filled = plan.fill({}, None, _ONE_STEP)
        if not plan.batched:
            return filled
        rows = len(arrays[plan.inputs[0].name])
        return {name: np.repeat(array, rows, axis=0) for name, array in filled.items()}


def stateful(runner: Runner, config: ModelConfig, where: str) -> Runner:
    """Makes a loaded runner stateful where the configuration says so; closes it where that cannot be.

    Raises:
        BadModel: the configuration does not fit the graph.
    """
    if config.sequences is None:
        return runner
    try:
        if config.response_cache is not None:
            raise BadModel(
                f"{where} has both 'sequences' and 'response_cache': an answer that depends on a state is never kept"
            )
        return StatefulRunner(runner, plan_states(config.sequences, runner.inputs, runner.outputs, where))
    except BaseException:
        runner.close()
        raise
