"""Load tests that compare the versions of a model under one traffic, and say with evidence which one to ship."""
