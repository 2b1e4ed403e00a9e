"""Every family by its name. A family's module is imported when it is asked for: most of them need torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from models.families.family import Family

# name -> module with an attribute FAMILY, or FAMILIES where one model has several full versions
_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "digits": "models.families.digits",
        "mnist": "models.families.mnist",
        "cifar10": "models.families.cifar10",
        "banking77": "models.families.banking77",
        "sst2": "models.families.sst2",
    }
)

NAMES = tuple(_MODULES)


def families(name: str) -> tuple[Family, ...]:
    """What is trained under this name: one model, with one full version or several, each with its variants.

    Raises:
        KeyError: there is none.
    """
    module = importlib.import_module(_MODULES[name])
    found: tuple[Family, ...] = getattr(module, "FAMILIES", ()) or (module.FAMILY,)
    return found
