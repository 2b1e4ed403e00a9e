"""A runner behind the inputs and outputs that its model's configuration declares, where those differ from the graph's.

Here the configuration is held against the graph: names, datatypes, sizes, and the batch axis. A request's arrays are
reshaped on their way in, answers on their way out, and outputs that were not declared are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from service.core.contract import Array, Arrays, TensorSpec
from service.core.errors import BadModel
from service.repository.config_tensors import Tensor
from service.repository.model_config import ModelConfig
from service.runtime.runner import Runner

BATCH_AXIS = "(batch)"  # no graph's own symbol has brackets
Dim = int | str | None


def declare(runner: Runner, config: ModelConfig, where: str, *, has_golden: bool = False) -> Runner:
    """The runner as `config` declares it; `runner` itself where it declares nothing. Closes it where it does not fit.

    Args:
        runner: of the graph.
        config: of the model.
        where: how messages name the version.
        has_golden: whether there are recorded cases, which have the graph's shapes.

    Raises:
        BadModel: the configuration and the graph contradict each other; says where.
    """
    if config.batched is None and not config.inputs and not config.outputs:
        return runner
    try:
        return DeclaredRunner(runner, *_reconcile(runner, config, where, has_golden))
    except BaseException:
        runner.close()
        raise


class DeclaredRunner:
    """A `Runner` with the specs that clients see.

    Args:
        runner: of the graph; owned from here on.
        inputs: what clients send.
        outputs: what clients get.
        reshaped: name -> the tensor's declaration, for those that have another shape in the graph.
    """

    def __init__(
        self,
        runner: Runner,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        reshaped: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    ) -> None:
        self._runner = runner
        self._inputs = inputs
        self._outputs = outputs
        self._reshaped_inputs, self._reshaped_outputs = reshaped

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """As `Runner.inputs`, with declared shapes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """As `Runner.outputs`, those that are declared, with declared shapes."""
        return self._outputs

    @property
    def omitted_outputs(self) -> tuple[str, ...]:
        """As `Runner.omitted_outputs`."""
        return self._runner.omitted_outputs

    @property
    def provider(self) -> str:
        """As `Runner.provider`."""
        return self._runner.provider

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """As `Runner.run`."""
        feeds = dict(arrays)
        for name, tensor in self._reshaped_inputs.items():
            if name in feeds and tensor.reshape is not None:
                feeds[name] = _reshape(feeds[name], tensor.dims, tensor.reshape)
        answered = self._runner.run(feeds)
        outputs = {spec.name: answered[spec.name] for spec in self._outputs}
        for name, tensor in self._reshaped_outputs.items():
            if tensor.reshape is not None:
                outputs[name] = _reshape(outputs[name], tensor.reshape, tensor.dims)
        return outputs

    def stop(self) -> None:
        """As `Runner.stop`."""
        self._runner.stop()

    def close(self) -> None:
        """As `Runner.close`."""
        self._runner.close()


def _reconcile(
    runner: Runner, config: ModelConfig, where: str, has_golden: bool
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]:
    inputs = {tensor.name: tensor for tensor in config.inputs}
    outputs = {tensor.name: tensor for tensor in config.outputs}
    given_by_server, kept = _of_sequences(config)
    _check_known(inputs, runner.inputs, f"{where}: input")
    _check_known(outputs, runner.outputs, f"{where}: output")
    for spec in runner.inputs:
        if inputs and spec.name not in inputs and spec.name not in given_by_server:
            raise BadModel(f"{where}: the graph needs input '{spec.name[:100]}', which the configuration does not have")
    shown = [spec for spec in runner.outputs if not outputs or spec.name in outputs or spec.name in kept]
    reshaped = _reshaped(inputs), _reshaped(outputs)
    if has_golden and any(reshaped):
        raise BadModel(f"{where}: a tensor with 'reshape' cannot be held against golden cases")
    described = (
        tuple(_spec(spec, inputs.get(spec.name), config.batched, f"{where}: input") for spec in runner.inputs),
        tuple(_spec(spec, outputs.get(spec.name), config.batched, f"{where}: output") for spec in shown),
    )
    return *described, reshaped


def _of_sequences(config: ModelConfig) -> tuple[set[str], set[str]]:
    """Inputs that the server fills in, and outputs that it keeps, of a model with state."""
    if config.sequences is None:
        return set(), set()
    states, controls = config.sequences.states, config.sequences.controls
    inputs = {state.input for state in states} | {control.input for control in controls}
    return inputs, {state.output for state in states}


def _check_known(declared: Iterable[str], specs: Sequence[TensorSpec], where: str) -> None:
    known = [spec.name for spec in specs]
    for name in declared:
        if name not in known:
            listed = ", ".join(f"'{one[:100]}'" for one in known[:8])
            raise BadModel(f"{where} '{name[:100]}' of the configuration is not in the graph, which has {listed}")


def _reshaped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor.reshape is not None}


def _spec(spec: TensorSpec, declared: Tensor | None, batched: bool | None, where: str) -> TensorSpec:
    """What clients see of a tensor of the graph."""
    where = f"{where} '{spec.name[:100]}'"
    dims = _with_batch(spec, batched, where)
    if declared is None:
        return replace(spec, dims=dims)
    if declared.datatype != spec.datatype:
        raise BadModel(f"{where} is {declared.datatype} in the configuration and {spec.datatype} in the graph")
    first = 1 if batched else 0
    inner = declared.dims if declared.reshape is None else declared.reshape
    own = dims[first:]
    if len(inner) != len(own) or not all(map(_fits, inner, own)):
        batch = " behind the batch axis" if batched else ""
        raise BadModel(f"{where} has dims {list(inner)} in the configuration and {_shown(own)} in the graph{batch}")
    if declared.reshape is None:
        told: tuple[Dim, ...] = tuple(
            graph if size == -1 else size for size, graph in zip(declared.dims, own, strict=True)
        )
    else:
        told = tuple(None if size == -1 else size for size in declared.dims)
    return replace(spec, dims=(*dims[:first], *told))


def _with_batch(spec: TensorSpec, batched: bool | None, where: str) -> tuple[Dim, ...]:
    """The graph's dims, where the configuration says whether the first one is the batch."""
    if batched is None or not spec.dims or isinstance(spec.dims[0], int):
        if batched:
            raise BadModel(f"{where} has no variable first axis in the graph, which max_batch_size above 0 needs")
        return spec.dims
    return (BATCH_AXIS if batched else None, *spec.dims[1:])


def _fits(size: int, graph: Dim) -> bool:
    """Whether a declared size is one that the graph takes: a variable one needs a variable one."""
    return not isinstance(graph, int) or size == graph


def _shown(dims: Sequence[Dim]) -> list[int]:
    return [dim if isinstance(dim, int) else -1 for dim in dims]


def _reshape(array: Array, before: Sequence[int], after: Sequence[int]) -> Array:
    """The array with the axes `after` in place of the axes `before`; the variable ones keep their sizes, in order.

    A first axis that is not among `before` is the batch, and stays.
    """
    kept = array.shape[: array.ndim - len(before)]
    sizes = array.shape[len(kept) :]
    variable = iter([size for size, dim in zip(sizes, before, strict=True) if dim == -1])
    return array.reshape(*kept, *(next(variable) if dim == -1 else dim for dim in after))
