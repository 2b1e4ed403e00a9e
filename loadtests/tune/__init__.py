"""Finds by measurement how a model is best served on this machine: batch limit, queueing delay, instances, threads."""
