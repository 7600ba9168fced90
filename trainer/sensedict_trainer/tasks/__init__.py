"""Multiple-choice tasks, scored by likelihood."""
