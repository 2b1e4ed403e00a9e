from __future__ import annotations

import json

import pytest

from service.core.errors import BadModel
from service.repository.config_files import read_config, read_given_config
from service.repository.config_tensors import Latest
from service.repository.memory_folder import MemoryFolder
from service.repository.model_config import ModelConfig
from tests.unit.repository.triton_texts import FILES, problem, read


def test_keys_of_model_yaml_win_one_by_one() -> None:
    config = read("max_batch_size: 8 instance_group [ { count: 3 } ]", model_yaml=b"max_batch_size: 4\ngate: strict\n")
    assert (config.max_batch_size, config.instances, config.gate, config.batched) == (4, 3, "strict", True)


def test_what_is_wrong_is_said_of_the_file_that_says_it() -> None:
    assert problem("max_batch_size: 8", model_yaml=b"instances: 0").startswith("m/model.yaml: 'instances'")
    assert problem("max_batch_size: 8", model_yaml=b"gat: strict").startswith("m/model.yaml: unknown key 'gat'")
    assert problem("max_batch_size: 100000", model_yaml=b"gate: strict").startswith("m/config.pbtxt: 'max_batch_size'")


@pytest.mark.parametrize(
    ("name", "meant"), [("model.yml", "model.yaml"), ("config.yaml", "model.yaml"), ("config.pbtext", "config.pbtxt")]
)
def test_a_file_that_nobody_reads_for_its_name_is_told(name: str, meant: str) -> None:
    folder = MemoryFolder({name: b"max_batch_size: 3", **FILES}, "m")
    config = read_config(folder, "m")
    assert config.max_batch_size == ModelConfig().max_batch_size
    assert config.warnings == (f"m/{name} is not read: the file is called {meant}.",)
    assert read_config(MemoryFolder(FILES, "m"), "m").warnings == ()


def test_a_given_configuration_is_read_in_place_of_both_files() -> None:
    folder = MemoryFolder({"config.pbtxt": b"broken", "model.yaml": b"broken", **FILES}, "m")
    text = json.dumps({"maxBatchSize": 4, "parameters": {"retort_config": {"string_value": '{"gate": "strict"}'}}})
    config = read_given_config(text, folder, "m")
    assert (config.max_batch_size, config.gate, config.versions) == (4, "strict", Latest(latest=1))
    with pytest.raises(BadModel, match=r"^the given config of m: ModelConfig has no field 'max_batch'; did you mean"):
        read_given_config('{"max_batch": 1}', folder, "m")
