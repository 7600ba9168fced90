"""Teachers, clustering, distillation, evaluation: whatever of sensedict needs torch, which loads when it is used."""

from sensedict_trainer.distillation import Distillation

__all__ = ["Distillation"]
