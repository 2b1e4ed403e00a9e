"""What every technique promises: arguments with defaults that a card holds, and what a card tells of them."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import pytest

from models.compress.registry import TECHNIQUES
from models.compress.technique import Material, NoCalibration, Technique, arguments_of, later
from service.repository.card import Step

OURS = sorted(TECHNIQUES)


@dataclass(frozen=True, slots=True)
class Grown:
    first: int = 1
    second: str = later("as ever")
    third: tuple[str, ...] = later(())


def test_a_later_field_is_told_only_where_it_is_not_as_by_default() -> None:
    assert arguments_of(Grown()) == {"first": 1}
    assert arguments_of(Grown(2, "else", ("a",))) == {"first": 2, "second": "else", "third": ("a",)}
    assert arguments_of(Grown(third=("a",))) == {"first": 1, "third": ("a",)}


def test_a_field_from_the_start_is_told_always() -> None:
    assert arguments_of(Grown(first=1)) == {"first": 1}


@pytest.mark.parametrize("name", OURS)
def test_a_technique_goes_by_one_name(name: str) -> None:
    technique = TECHNIQUES[name]
    assert technique.name == name == technique.apply.__name__ == technique.apply.__module__.rsplit(".", 1)[1]


@pytest.mark.parametrize("name", OURS)
def test_arguments_have_defaults_and_fit_a_card(name: str) -> None:
    kind = TECHNIQUES[name].arguments
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    assert all(field.name in (kind.__doc__ or "") for field in fields(kind))
    assert {hints[field.name] for field in fields(kind)} <= {bool, int, float, str, tuple[str, ...]}
    step = Step(technique=name, arguments=arguments_of(kind()))
    assert Step.model_validate_json(step.model_dump_json()) == step


def test_arguments_of_another_technique_are_refused() -> None:
    def apply(model: bytes, arguments: Grown, material: Material) -> bytes:
        return model

    technique: Technique[Any] = Technique("apply", Grown, apply)
    assert technique.run(b"model", Grown(), Material()) == b"model"
    with pytest.raises(TypeError, match="apply takes Grown, not int"):
        technique.run(b"model", 3, Material())


def test_a_missing_calibration_set_is_said() -> None:
    with pytest.raises(NoCalibration, match="int8_static needs a calibration set"):
        Material().rows("int8_static")
