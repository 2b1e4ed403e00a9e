"""Recipes: chains of techniques in YAML files, named after their file, and what reads them."""
