"""Which versions of a Triton configuration are resident, in which file each lies, and on which device instances run.

Sources: Triton's model_config.proto; where nothing is said, its normalisation: the latest version, one instance on the
GPU where there is one.
"""

from __future__ import annotations

from typing import Any

from service.repository.suggest import quoted
from service.repository.triton_parameters import read_own
from service.repository.triton_reading import Reading

_AUTO, _GPU, _CPU, _MODEL = range(4)  # ModelInstanceGroup.Kind
_PROVIDERS = {_AUTO: "auto", _GPU: "cuda", _CPU: "cpu"}
_INSTANCES_LIMIT = 256


def read_placement(message: Any, reading: Reading) -> None:
    """Sets `versions`, `active`, `onnx_file`, `instances`, `devices` and, as far as the groups say it, `provider`."""
    reading.values["versions"] = _versions(message, reading)
    if isinstance(reading.values["versions"], list):
        reading.values["active"] = max(reading.values["versions"], key=int)
    if message.default_model_filename:
        reading.values["onnx_file"] = message.default_model_filename
    if message.instance_group:
        _instances(message, reading)


def _versions(message: Any, reading: Reading) -> Any:
    policy = message.version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return "all"
    if choice != "specific":
        return {"latest": policy.latest.num_versions or 1}
    versions = list(policy.specific.versions)
    if not versions or min(versions) < 1:
        raise reading.wrong("version_policy.specific.versions", "must hold version numbers of 1 or more")
    return [str(version) for version in versions]


def _instances(message: Any, reading: Reading) -> None:
    kinds = {group.kind for group in message.instance_group}
    if kinds == {_MODEL} and "runner" in read_own(message, reading):
        reading.values["instances"] = sum(max(1, group.count) for group in message.instance_group)
        return
    if kinds - _PROVIDERS.keys():
        raise reading.unsupported("instance_group.kind", "KIND_MODEL is of backends that choose devices themselves")
    if len(kinds) > 1:
        raise reading.unsupported(
            "instance_group", "groups of different kinds; all instances run on one kind of device"
        )
    count = 0
    devices: list[int] = []
    for group in message.instance_group:
        _check_group(group, reading)
        copies = max(1, group.count)
        count += copies * max(1, len(group.gpus))
        if count > _INSTANCES_LIMIT:
            raise reading.wrong("instance_group", f"asks for more than {_INSTANCES_LIMIT} instances")
        devices += [gpu for gpu in group.gpus or (0,) for _ in range(copies)]
    reading.values |= {"instances": count, "provider": _PROVIDERS[kinds.pop()]}
    if any(devices):
        reading.values["devices"] = devices


def _check_group(group: Any, reading: Reading) -> None:
    where = f"instance_group {quoted(group.name)}" if group.name else "instance_group"
    if group.count < 0:
        raise reading.wrong(f"{where}.count", f"is {group.count}, expected 1 or more")
    if group.gpus and group.kind == _CPU:
        raise reading.wrong(f"{where}.gpus", "is given beside KIND_CPU")
    if any(gpu < 0 for gpu in group.gpus):
        raise reading.wrong(f"{where}.gpus", "must hold numbers of devices, 0 or more")
    if group.passive:
        raise reading.unsupported(f"{where}.passive", "every instance answers")
    if group.secondary_devices:
        raise reading.unsupported(f"{where}.secondary_devices", "DLA cores are chosen by trt_dla_core")
    for field, why in (
        ("rate_limiter", "an instance runs whenever it is idle and there is work"),
        ("profile", "TensorRT's profiles are made from max_batch_size"),
        ("host_policy", "instances are bound to no cores"),
    ):
        if group.HasField(field) if field == "rate_limiter" else getattr(group, field):
            reading.warn(f"{where}.{field}", why)
