"""What the cards of a model say, side by side: a table, and one page with charts and the inputs that flip."""
