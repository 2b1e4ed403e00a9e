"""A version's runner in a process of its own, which may die without taking a request with it (ADR 0033).

`process_runner` is the runner; `nursery` starts children through the `cradle`, `inside` is what a child does.
"""
