"""The bytes that processes are made from."""

from __future__ import annotations

import os
import sys

import pytest

from service.core.errors import BadModel
from service.runtime.isolation.recipe import Recipe
from tests.unit.runtime import graphs
from tests.unit.runtime.isolation.runners import CPU


def test_the_bytes_of_a_version_cannot_be_changed() -> None:
    recipe = Recipe(graphs.linear(), {}, CPU, None)
    for change in (lambda fd: os.pwrite(fd, b"x", 0), lambda fd: os.ftruncate(fd, 0), lambda fd: os.write(fd, b"x")):
        with pytest.raises(PermissionError):
            change(recipe.file.descriptor)


def test_another_system_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        with pytest.raises(BadModel, match="'isolation' needs Linux"):
            Recipe(b"", {}, CPU, None)
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(BadModel, match="'isolation' needs Linux"):
        Recipe(b"", {}, CPU, None)
