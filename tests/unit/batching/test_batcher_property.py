"""Whatever happens, every request ends once and rightly (B1, B2, B3, B4, C1, R1): random scenarios in manual time.

`--hypothesis-profile=long` plays many more of them. What else they are worth: `test_mutations`.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.unit.batching.player import play
from tests.unit.batching.scenario import Scenario
from tests.unit.batching.scenarios import scenarios


@pytest.mark.timeout(3600)  # for the long profile
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios)
def test_every_request_ends_once_with_its_own_rows_or_an_error_that_has_a_cause(scenario: Scenario) -> None:
    play(scenario)
