"""Tasks that models are scored on; `registry` loads and scores them by name."""
