"""The workshop: makes compressed versions of models and measures them."""
