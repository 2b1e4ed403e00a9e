"""Reads recipe files, strictly: an unknown key, technique or argument, or a value of another type, is refused.

Every refusal says which file, which step, what is wrong there and what was expected, with the nearest known name.
The recipes that come with Retort lie beside this file; a user's own is named by its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from models.compress.registry import TECHNIQUES
from models.compress.technique import Technique
from models.recipes.plan import Plan, PlanStep, Rung
from service.repository.names import legal_name
from service.repository.suggest import did_you_mean, quoted
from service.repository.yaml_text import Unreadable, YamlText, read_yaml

HERE = Path(__file__).parent
RECIPE_LIMIT_BYTES = 64 << 10
KEYS = ("summary", "seed", "steps", "coded", "needs", "ladder")
TRAINING = ("fine_tune", "qat", "distil")
_EXCLUDE_WORST, _TRAINING = "exclude_worst", "training"
_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}

T = TypeVar("T")


class BadRecipe(ValueError):
    """A recipe cannot be read; the message is one sentence: where, what, and what was expected."""


def names() -> list[str]:
    """The recipes that come with Retort, sorted."""
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def named(name: str) -> Plan:
    """The recipe of this name that comes with Retort.

    Raises:
        BadRecipe: there is none.
    """
    if name not in names():
        raise BadRecipe(f"There is no recipe {quoted(name)}{did_you_mean(name, names())}")
    return read(HERE / f"{name}.yaml")


def find(text: str) -> Plan:
    """A recipe by its name, or by the path of its file, which ends in .yaml or .yml.

    Raises:
        BadRecipe: there is none, or it cannot be read.
    """
    return read(Path(text)) if text.endswith((".yaml", ".yml")) else named(text)


def read(path: Path) -> Plan:
    """The recipe in a file; its name is the file's.

    Raises:
        BadRecipe: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadRecipe(f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}.") from None
    if len(data) > RECIPE_LIMIT_BYTES:
        raise BadRecipe(f"{path.name} has {len(data)} bytes, more than the {RECIPE_LIMIT_BYTES} of any recipe.")
    return parse(data, path.name)


def parse(data: bytes, where: str) -> Plan:
    """The recipe in the bytes of a file called `where`.

    Raises:
        BadRecipe: it cannot be read.
    """
    try:
        document = read_yaml(data)
    except Unreadable as error:
        raise BadRecipe(f"{where} is not plain YAML: {error}.") from None
    top = _mapping(document, where, "a recipe")
    _known(top, KEYS, where, "key")
    steps = _steps(top.get("steps"), f"{where}, steps")
    summary = _value(str, top.get("summary"), f"{where}, summary")
    if not summary.strip():
        raise BadRecipe(f"{where}, summary: one sentence is expected.")
    return Plan(
        name=legal_name(Path(where).stem),
        summary=summary.strip(),
        steps=steps,
        seed=_value(int | None, top.get("seed"), f"{where}, seed"),
        coded=_value(bool, top.get("coded", "false"), f"{where}, coded"),
        needs=_value(tuple[str, ...], top.get("needs", []), f"{where}, needs"),
        ladder=_ladder(top.get("ladder", []), steps, where),
    )


def _steps(value: YamlText, where: str) -> tuple[PlanStep, ...]:
    if not isinstance(value, list) or not value:
        raise BadRecipe(f"{where}: a list of at least one step is expected, each `- technique: {{arguments}}`.")
    return tuple(_step(step, f"{where}, step {number}") for number, step in enumerate(value, 1))


def _step(value: YamlText, where: str) -> PlanStep:
    if isinstance(value, str):
        value = {value: {}}
    pair = _mapping(value, where, "a step")
    if len(pair) != 1:
        raise BadRecipe(f"{where}: one technique with its arguments is expected, not {len(pair)}.")
    ((name, arguments),) = pair.items()
    technique = _technique(name, where)
    where = f"{where} ({name})"
    given = _arguments(technique, arguments, where)
    try:
        return PlanStep(technique, technique.arguments(**given))
    except (TypeError, ValueError) as error:
        raise BadRecipe(f"{where}: {str(error).rstrip('.')}.") from None


def _technique(name: str, where: str) -> Technique[Any]:
    if name not in TECHNIQUES:
        raise BadRecipe(f"{where}: there is no technique {quoted(name)}{did_you_mean(name, TECHNIQUES)}")
    return TECHNIQUES[name]


def _arguments(technique: Technique[Any], value: YamlText, where: str) -> dict[str, Any]:
    given = _mapping({} if value is None else value, where, "arguments")
    hints = get_type_hints(technique.arguments)
    _known(given, [one.name for one in fields(technique.arguments)], where, "argument")
    return {name: _value(hints[name], text, f"{where}, {name}") for name, text in given.items()}


def _ladder(value: YamlText, steps: tuple[PlanStep, ...], where: str) -> tuple[Rung, ...]:
    if not isinstance(value, list):
        raise BadRecipe(f"{where}, ladder: a list is expected.")
    return tuple(_rung(rung, steps, f"{where}, ladder, rung {number}") for number, rung in enumerate(value, 1))


def _rung(value: YamlText, steps: tuple[PlanStep, ...], where: str) -> Rung:
    given = _mapping(value, where, "a rung")
    techniques = {step.technique.name: step.technique for step in steps}
    arguments = {one.name for technique in techniques.values() for one in fields(technique.arguments)}
    _known(given, [*techniques, *sorted(arguments), _EXCLUDE_WORST, _TRAINING], where, "change")
    if not given:
        raise BadRecipe(f"{where}: at least one change is expected.")
    exclude_worst = _value(int, given.get(_EXCLUDE_WORST, "0"), f"{where}, {_EXCLUDE_WORST}")
    if _EXCLUDE_WORST in given and (exclude_worst < 1 or not any(step.excludes for step in steps)):
        raise BadRecipe(f"{where}: exclude_worst wants a number above 0 and a step that takes exclude_nodes.")
    training = _value(str | None, given.get(_TRAINING), f"{where}, {_TRAINING}")
    if training is not None:
        _known({training: None}, TRAINING, where, "training")
    changes = {name: _changes(technique, given, where) for name, technique in techniques.items()}
    return Rung(_words(given), changes, exclude_worst, training)


def _changes(technique: Technique[Any], given: Mapping[str, YamlText], where: str) -> dict[str, Any]:
    """What a rung changes of one technique: arguments under its name, and those that stand by themselves."""
    bare = {one.name: given[one.name] for one in fields(technique.arguments) if one.name in given}
    own = _mapping(given.get(technique.name, {}), where, f"what {technique.name} changes")
    return _arguments(technique, {**bare, **own}, f"{where} ({technique.name})")


def _words(rung: Mapping[str, YamlText]) -> str:
    """The rung on one line, as a person would say it: `exclude_worst 4, int8_static calibrator=Entropy`."""
    parts = []
    for name, value in rung.items():
        arguments = value.items() if isinstance(value, dict) else ()
        parts.append(" ".join([name, *(f"{k}={v}" for k, v in arguments)]) if arguments else f"{name} {value}")
    return ", ".join(parts)


def _mapping(value: YamlText, where: str, what: str) -> dict[str, YamlText]:
    if not isinstance(value, dict):
        raise BadRecipe(f"{where}: {what} is expected to be a mapping, `key: value`.")
    return value


def _known(given: Mapping[str, Any], known: Any, where: str, what: str) -> None:
    for name in given:
        if name not in known:
            raise BadRecipe(f"{where}: unknown {what} {quoted(name)}{did_you_mean(name, known)}")


def _value(kind: type[T] | Any, text: YamlText, where: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(tuple(text) if isinstance(text, list) else text)
    except ValidationError:
        raise BadRecipe(f"{where}: {_expected(kind)} is expected, not {_shown(text)}.") from None


def _expected(kind: Any) -> str:
    return _EXPECTED.get(kind) or getattr(kind, "__name__", None) if isinstance(kind, type) else _of_hint(kind)


def _of_hint(kind: Any) -> str:
    text = str(kind).replace("typing.", "").replace("NoneType", "None")
    return {"int | None": "a whole number", "str | None": "a text", "float | None": "a number"}.get(
        text, "a list" if text.startswith("tuple") else f"one of {text.removeprefix('Literal')}"
    )


def _shown(text: YamlText) -> str:
    return "a list" if isinstance(text, list) else "a mapping" if isinstance(text, dict) else quoted(str(text))
