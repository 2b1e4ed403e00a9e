"""Every family by its name. A family's module is imported when it is asked for: most of them need torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from models.families.family import Family

# name -> module with an attribute FAMILY
_MODULES: Mapping[str, str] = MappingProxyType({})

NAMES = tuple(_MODULES)


def family(name: str) -> Family:
    """The family of this name.

    Raises:
        KeyError: there is none.
    """
    found: Family = importlib.import_module(_MODULES[name]).FAMILY
    return found
