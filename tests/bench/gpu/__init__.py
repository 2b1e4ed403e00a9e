"""`python -m tests.bench.gpu`: what a GPU makes of a network: by how it is run, by precision, and served."""
