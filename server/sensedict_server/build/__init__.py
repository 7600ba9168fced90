"""Builder jobs: from text and a teacher to a published dictionary, a room a step."""
