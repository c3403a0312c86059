"""What every room agrees on: types, configuration, the answer-and-verdict grammar, errors."""
