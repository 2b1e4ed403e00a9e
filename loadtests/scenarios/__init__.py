"""Scenarios, one YAML file each; see `loadtests.scenario`."""
