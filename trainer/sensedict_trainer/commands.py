"""The trainer's part of the `sensedict` command; torch is imported inside the commands, so that their help is quick."""

from sensedict_trainer.compare_command import compare
from sensedict_trainer.teacher_command import teacher
from sensedict_trainer.train_command import train

__all__ = ["compare", "teacher", "train"]
