"""Examples of a property have no time limit of their own: on a busy machine any of them takes long now and then.

The limit of each test as a whole stays, and `timeout` of pytest holds it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
