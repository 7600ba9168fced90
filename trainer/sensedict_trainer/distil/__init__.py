"""Distilling a student: recipes, the shared trunk, losses, the loop, checkpoints."""
