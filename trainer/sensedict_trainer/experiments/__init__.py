"""The paper's tables and figures, and comparisons past them: each is a TOML file in `tables`, one engine runs them."""
