"""The named models that can be trained here: each with its data, its full version and the variants made of it."""
