"""Loads that bring a configuration or files: as a whole or not at all, and back with the next load without them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from service.core.contract import ModelRef
from service.core.errors import BadModel, NotFound, Refused
from service.repository.overlay import Override
from service.serving.catalog import Catalog
from tests.unit.serving import texts
from tests.unit.serving.house import House, ask, entry_of, servable_of, states, until, variant
from tests.unit.serving.models import rows, scales, scales_wide

CONFIG = json.dumps({"max_batch_size": 4, "version_policy": {"all": {}}})


def brings(config: str = CONFIG, **versions: bytes) -> Override:
    return Override(config, {f"{name.removeprefix('v')}/model.onnx": onnx for name, onnx in versions.items()})


async def factor(catalog: Catalog, version: str | None = None) -> float:
    return float((await ask(catalog, version=version, x=rows(1))).outputs["y"][0, 0])


async def test_a_configuration_takes_the_place_of_the_file_s_until_the_next_load(house: House) -> None:
    house.put("1", scales(2))
    house.configure(max_batch_size=16)
    catalog = await house.started()
    assert servable_of(catalog, "1").config.max_batch_size == 16
    await catalog.load("m", brings())
    assert servable_of(catalog, "1").config.max_batch_size == 4
    await catalog.load("m")
    assert servable_of(catalog, "1").config.max_batch_size == 16
    assert await factor(catalog) == 2


async def test_files_stand_for_all_versions_until_the_next_load(house: House) -> None:
    house.put("1", scales(2))
    house.put("2", scales(3))
    catalog = await house.started()
    await catalog.load("m", brings(v1=scales(7), v5=scales(8)))
    assert states(catalog) == {"1": "READY", "5": "READY"}
    assert [await factor(catalog, version) for version in (None, "1", "5")] == [8, 7, 8]  # "2" is gone, "5" the highest
    await catalog.load("m")
    assert states(catalog) == {"1": "READY", "2": "READY"}
    assert [await factor(catalog, version) for version in (None, "1")] == [3, 2]


async def test_the_active_version_stays_active_where_there_is_one_of_its_name(house: House) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    await catalog.load("m", brings(v1=scales(7), v5=scales(8)))
    assert await factor(catalog) == 7


async def test_a_request_in_flight_keeps_what_it_leased(house: House) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    with catalog.lease(ModelRef("m")) as held:
        loading = catalog.load("m", brings(v1=scales(7)))
        task = asyncio.ensure_future(loading)
        await until(lambda: held.state.value == "DRAINING")
        assert not task.done()
        assert await factor(catalog) == 7
    await task
    assert await factor(catalog) == 7


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (brings("{"), "the given config of m"),
        (brings('{"max_batch": 1}'), "has no field 'max_batch'"),
        (brings('{"platform": "tensorflow_graphdef"}', v1=scales(7)), "'platform' is not supported"),
        (brings(v1=scales(7), v2=b"\xff" * 30), "is not an ONNX file or is damaged"),
        (
            brings('{"version_policy": {"all": {}}}', v1=scales(7), v2=scales(7)[:40]),
            "is not an ONNX file or is damaged",
        ),
        (Override(CONFIG, {"labels.txt": b"a"}), "has no version"),
        (Override(CONFIG, {"1/other.onnx": scales(7)}), "model.onnx"),
        (brings('{"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [9, 9]}]}'), "in the configuration"),
    ],
)
async def test_a_load_that_fails_changes_nothing(house: House, override: Override, words: str) -> None:
    house.put("1", scales(2))
    house.put("3", scales(3))
    catalog = await house.started()
    before = {version: servable_of(catalog, version) for version in ("1", "3")}
    config = entry_of(catalog).config
    with pytest.raises(BadModel) as caught:
        await catalog.load("m", override)
    assert words in str(caught.value)
    assert {version: servable_of(catalog, version) for version in before} == before
    assert states(catalog) == {"1": "READY", "3": "READY"}
    assert (entry_of(catalog).config, entry_of(catalog).reason, house.source.given("m")) == (config, "", None)
    assert await factor(catalog) == 3


async def test_what_is_told_of_a_version_is_what_serves_where_a_load_is_undone(house: House) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    statistics = servable_of(catalog, "1").statistics
    before = statistics.load_s, statistics.memory_bytes
    with pytest.raises(BadModel):
        await catalog.load("m", brings(v1=scales_wide(7), v2=b"no model"))
    assert (statistics.load_s, statistics.memory_bytes) == before


async def test_what_was_brought_before_serves_on_where_the_next_load_fails(house: House) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    await catalog.load("m", brings(v1=scales(7)))
    with pytest.raises(BadModel):
        await catalog.load("m", brings("{"))
    assert await factor(catalog) == 7
    (house.root / "m" / "1" / "model.onnx").write_bytes(b"broken")
    with pytest.raises(BadModel):
        await catalog.load("m")
    assert await factor(catalog) == 7
    assert house.source.given("m") is not None


async def test_the_gate_is_asked_of_what_would_become_active(house: House) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    folder = house.put("9", scales(7), model="elsewhere", card=variant("fail"))
    files = {f"9/{path.name}": path.read_bytes() for path in folder.iterdir()}
    files["9/card.json"] = files["9/card.json"].replace(b'"elsewhere"', b'"m"')
    with pytest.raises(Refused):
        await catalog.load("m", Override(CONFIG, files))
    assert (states(catalog), await factor(catalog)) == ({"1": "READY"}, 2)


async def test_a_model_that_is_in_no_repository_is_made_and_a_failed_one_leaves_nothing(house: House) -> None:
    catalog = await house.started()
    with pytest.raises(BadModel):
        await catalog.load("m", brings(v1=b"\xff" * 30))
    assert catalog.models() == []
    with pytest.raises(NotFound):
        await catalog.load("m", brings())
    await catalog.load("m", brings(v1=scales(7)))
    assert await factor(catalog) == 7
    with pytest.raises(NotFound):
        await catalog.load("m")
    assert await factor(catalog) == 7  # there is nothing that could take its place


async def test_an_unexpected_error_leaves_nothing_of_a_model_that_is_in_no_repository(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = await house.started()

    def planted(_model: str) -> object:
        raise KeyError("planted")

    monkeypatch.setattr(house.source, "read_config", planted)
    with pytest.raises(KeyError):
        await catalog.load("new", brings(v1=scales(7)))
    assert (catalog.models(), house.source.given("new")) == ([], None)


async def test_there_is_no_way_back_to_what_a_load_made_active(house: House) -> None:
    house.put("1", scales(2))
    house.put("2", scales(3))
    catalog = await house.started()
    await catalog.swap("m", "1")
    await catalog.load("m", brings(v2=scales(7)))
    assert catalog.active_version("m") == "2"
    with pytest.raises(NotFound, match="no earlier active version"):
        await catalog.rollback("m")


async def test_what_is_not_resident_is_listed_and_loads_when_asked(house: House) -> None:
    catalog = await house.started()
    await catalog.load("m", brings('{"max_batch_size": 4}', v1=scales(7), v2=scales(8)))  # the latest alone
    assert states(catalog) == {"1": "NOT_LOADED", "2": "READY"}
    await catalog.swap("m", "1")
    assert await factor(catalog) == 7


async def test_other_inputs_may_come_with_a_load(house: House) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    await catalog.load("m", brings(v1=scales_wide(7)))
    assert servable_of(catalog, "1").inputs["x"].shape == (-1, 5)


async def test_an_unload_ends_what_was_brought(house: House) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    await catalog.load("m", brings(v1=scales(7)))
    await catalog.load("brought", brings(v1=scales(8)))
    for model in ("m", "brought"):
        await catalog.unload(model)
        assert house.source.given(model) is None, "its bytes would stay for ever"
    await catalog.load("m")
    assert await factor(catalog) == 2
    with pytest.raises(NotFound):
        await catalog.load("brought")


async def test_a_refused_padding_is_told_of_what_was_brought_too(house: House) -> None:
    catalog = await house.started()
    pads = {"pad": texts.PAD}
    brought = json.dumps({"parameters": {"retort_config": {"string_value": json.dumps(pads)}}})
    await catalog.load("m", Override(brought, {"1/model.onnx": texts.ignores_its_mask()}))
    assert servable_of(catalog, "1").padding.reason == house.logged("padding refused")[0]["reason"]


async def test_an_unloaded_model_can_be_taken_over(house: House) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    await catalog.unload("m")
    await catalog.load("m", brings(v1=scales(7)))
    assert await factor(catalog) == 7


@pytest.mark.parametrize("values", [{"max_batch_size": 1}, {"finite_outputs": True}])
async def test_a_load_that_brings_what_serves_already_loads_nothing(house: House, values: dict[str, Any]) -> None:
    house.put("1", scales(2))
    catalog = await house.started()
    override = brings(json.dumps({"parameters": {"retort_config": {"string_value": json.dumps(values)}}}))
    await catalog.load("m", override)
    first = servable_of(catalog, "1")
    await catalog.load("m", override)
    assert servable_of(catalog, "1") is first


async def test_what_has_no_effect_is_logged_once_and_told_with_the_version(house: House) -> None:
    house.put("1", scales(2))
    (house.root / "m" / "config.pbtxt").write_text('metric_tags { key: "a" value: "b" }')
    catalog = await house.started()
    await catalog.load("m")
    [line] = house.logged("configuration")
    assert "'metric_tags' has no effect here" in line["warning"]
    assert catalog.versions("m")[0].warnings == (line["warning"],)


async def test_a_version_that_is_named_and_not_there_is_logged_once(house: House) -> None:
    house.put("1", scales(2))
    (house.root / "m" / "model.yaml").write_text("versions: [1, 9]")
    catalog = await house.started()
    await catalog.load("m")
    assert [line["warning"] for line in house.logged("configuration")] == ["version '9' is named and not there"]


async def test_a_triton_repository_serves_the_latest_version_reshaped_and_warmed_up(house: House) -> None:
    house.put("1", scales(2))
    house.put("2", scales(3))
    (house.root / "m" / "warmup").mkdir()
    (house.root / "m" / "config.pbtxt").write_text("""
      max_batch_size: 8
      input [ { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } } ]
      output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
      model_warmup [ { name: "w" batch_size: 8
        inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2, 2 ] zero_data: true } } } ]""")
    catalog = await house.started()
    assert states(catalog) == {"1": "NOT_LOADED", "2": "READY"}
    answer = await ask(catalog, x=rows(1).reshape(1, 2, 2))
    assert answer.outputs["y"].tolist() == [[3, 3, 3, 3]]
    assert servable_of(catalog, "2").max_batch_size == 8


async def test_a_warm_up_that_does_not_run_is_a_load_that_fails(house: House) -> None:
    house.put("1", scales(2))
    (house.root / "m" / "config.pbtxt").write_text("""
      max_batch_size: 8
      model_warmup [ { name: "w" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 5 ] zero_data: true } } } ]""")
    catalog = await house.started()
    assert states(catalog) == {"1": "FAILED"}
    assert "warm-up sample 'w' does not run" in catalog.reason("m")


async def test_declared_without_a_batch_a_request_of_any_size_is_one_run(house: House) -> None:
    house.put("1", scales(2))
    (house.root / "m" / "config.pbtxt").write_text("""
      input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]
      output [ { name: "y" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]""")
    catalog = await house.started()
    assert servable_of(catalog, "1").max_batch_size == 0
    assert (await ask(catalog, x=rows(*range(100)))).outputs["y"].shape == (100, 4)
