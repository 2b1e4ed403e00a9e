"""Which version was active outlives a restart, as long as nobody decided otherwise since."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from service.repository.state_file import ActiveRecord, StateFile
from tests.unit.serving import models
from tests.unit.serving.house import House, ask, entry_of, variant

ROWS = models.rows(1, 2, 3)


async def test_a_swap_survives_a_restart_and_so_does_the_way_back(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    first = await house.started()
    assert first.active_version("m") == "2"
    await first.swap("m", "1")
    second = await house.started()
    assert second.active_version("m") == "1"
    assert (await second.rollback("m")).to_version == "2"
    assert (await house.started()).active_version("m") == "2"


@pytest.mark.parametrize("way", ["force", "rollback"])
async def test_what_became_active_without_the_gates_leave_stays_so_over_a_restart(house: House, way: str) -> None:
    house.put("1", models.scales(2.0))
    house.put("1-int8", models.scales(2.0), card=variant("fail"))
    catalog = await house.started()
    await catalog.swap("m", "1-int8", force=True)
    if way == "rollback":
        await catalog.swap("m", "1")
        await catalog.rollback("m")
    again = await house.started()
    assert again.active_version("m") == "1-int8"
    house.put("1-int8", models.scales(3.0), card=variant("fail"))
    await again.load("m")
    assert np.array_equal((await ask(again, x=ROWS)).outputs["y"], ROWS * 3)


async def test_force_of_one_version_opens_the_gate_for_no_other(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("1-int8", models.scales(2.0), card=variant("fail"))
    house.put("1-fp16", models.scales(2.0), card=variant("fail"))
    catalog = await house.started()
    await catalog.swap("m", "1-int8", force=True)
    house.configure(active="1-fp16")
    again = await house.started()
    assert again.active_version("m") is None
    assert "1-fp16" in again.reason("m")


async def test_a_change_of_active_in_model_yaml_wins_over_what_was_swapped_before_it(house: House) -> None:
    for version in ("1", "2", "3"):
        house.put(version, models.scales(2.0))
    house.configure(active="2")
    await (await house.started()).swap("m", "1")
    assert (await house.started()).active_version("m") == "1"
    house.configure(active="3")
    assert (await house.started()).active_version("m") == "3"


async def test_the_way_back_leads_to_what_was_active_before_model_yaml_was_changed(house: House) -> None:
    for version in ("1", "2"):
        house.put(version, models.scales(2.0))
    house.configure(active="2")
    await (await house.started()).swap("m", "1")
    house.configure()
    catalog = await house.started()
    assert catalog.active_version("m") == "2"
    assert (await catalog.rollback("m")).to_version == "1"


async def test_a_remembered_version_that_is_gone_is_forgotten(house: House) -> None:
    house.put("1", models.scales(2.0))
    StateFile(house.state_file).write("m", ActiveRecord("9", "8"))
    catalog = await house.started()
    assert catalog.active_version("m") == "1"
    assert entry_of(catalog).previous is None


async def test_a_state_that_cannot_be_written_is_a_warning_and_no_failure(house: House, tmp_path: Path) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    (tmp_path / "file").write_text("where a folder should be")
    catalog = await house.started(state=StateFile(tmp_path / "file" / "active.json"))
    report = await catalog.swap("m", "1")
    assert report.warning == "not-durable"
    assert catalog.active_version("m") == "1"
    [line] = house.logged("active version not durable")
    assert (line["model"], line["level"]) == ("m", "warning")
    assert (await catalog.swap("m", "2")).warning == "not-durable"


async def test_the_choice_is_durable_before_anyone_is_answered_by_it(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))

    class Watching(StateFile):
        seen: list[str | None]

        def write(self, model: str, record: ActiveRecord) -> str | None:
            self.seen.append(catalog.active_version("m"))
            return super().write(model, record)

    state = Watching(house.state_file)
    state.seen = []
    catalog = await house.started(state=state)
    for version in itertools.islice(itertools.cycle("12"), 4):
        await catalog.swap("m", version)
        assert StateFile(house.state_file).read()["m"].active == version
    assert state.seen == ["2", "1", "2", "1"]
