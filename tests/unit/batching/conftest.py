"""`pytest tests/unit/batching --hypothesis-profile=long` plays random scenarios for minutes instead of seconds."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("long", max_examples=10_000)
