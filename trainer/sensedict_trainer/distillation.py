"""From names and paths to a student: what `sensedict train` does, for Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sensedict.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sensedict.source import SenseSource
    from sensedict_trainer.distil.loop import TrainOptions, TrainResult
    from sensedict_trainer.distil.plan import Plan
    from sensedict_trainer.distil.recipe import Recipe
    from sensedict_trainer.teacher import Teacher
    from sensedict_trainer.text import TokenWindow


@dataclass(frozen=True)
class Distillation:
    """A student to be distilled.

    ```python
    from sensedict_trainer import Distillation

    distillation = Distillation("teacher", ["train.jsonl"], dictionary="files/mine@1", settings=["lr=1e-4"])
    print(*distillation.plan().lines(), sep="\\n")
    student = distillation.train("run").student
    ```

    Attributes:
        teacher: folder, or name for `transformers`.
        text: sources of text, see `text_sources.KINDS`.
        dictionary: folder of a file set; with `server`, name@version or name@alias there. None for an objective
            without one.
        server: root of a service; patience: seconds to wait for it when it is away.
        recipe: name of one, or a TOML file; objective, seed: in place of the recipe's.
        settings: in place of the recipe's, `lr=1e-4`, `sense.margin=0.5`.
        tokens: of the text to train on; None for all.
        dtype: of the teacher's weights and the student's, float32, bfloat16 or float16; device: where both run, `cuda`
            for each process's own.
        micro_batch: most windows of any forward pass; None for a batch. cache_mb: of sense vectors on the device.
        held_out: sources of text that is not trained on; evaluate_every: steps between two looks at it.
        checkpoint_every, keep, activations, teacher_states, tensorboard: see `TrainOptions`.
        tell: is given a line on each thing that was opened.
    """

    teacher: str | Path
    text: Sequence[str | Path]
    dictionary: str | Path | None = None
    server: str | None = None
    patience: float = 300.0
    recipe: str | Path = "paper-llama3"
    objective: str | None = None
    seed: int | None = None
    settings: Sequence[str] = ()
    tokens: int | None = None
    dtype: str = "float32"
    device: str = "cpu"
    micro_batch: int | None = None
    cache_mb: int = 256
    held_out: Sequence[str | Path] = ()
    evaluate_every: int = 100
    checkpoint_every: int = 100
    keep: int = 1
    activations: Path | None = None
    teacher_states: Path | None = None
    tensorboard: bool = False
    tell: Callable[[str], object] = lambda _line: None

    def __post_init__(self) -> None:
        if isinstance(self.text, str | Path):  # a string is a sequence of strings too
            raise InvalidInput(f"text is {str(self.text)!r} and must be a list of sources: [{str(self.text)!r}]")
        if isinstance(self.settings, str):
            raise InvalidInput(f"settings is {self.settings!r} and must be a list: [{self.settings!r}]")
        for name in ("tokens", "micro_batch", "cache_mb", "evaluate_every", "checkpoint_every", "keep"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"{name} is {value} and must be at least 1")

    def train(self, out: str | Path, fresh: bool = False) -> TrainResult:
        """Train the student and write it to `out/student`; a run that was stopped goes on from its last checkpoint.

        Args:
            out: the run's folder; fresh: throw away what an earlier run left there.

        Raises:
            InvalidInput: a setting, a recipe or a source of text that cannot be used; nothing was loaded.
            ConfigurationError: no dictionary for an objective that needs one, a teacher that cannot be loaded, a
                folder that holds something else or another run, a device without enough memory.
            Mismatch, Unavailable, NotFinite: see `train`.
        """
        from sensedict_trainer.distil.loop import train
        from sensedict_trainer.distil.tensorboard import check_tensorboard
        from sensedict_trainer.options import enough_memory
        from sensedict_trainer.text_sources import sources_hash
        from sensedict_trainer.work import check_ours

        recipe = self._checked()
        check_ours(Path(out))
        if self.tensorboard:
            check_tensorboard()
        with self._opened(recipe) as (teacher, windows, source):
            hashes = tuple((name, sha256) for name, sha256 in sources_hash(self.text))
            held_out = self._held_out(recipe, teacher, windows)
            options = replace(self._options(recipe, fresh, hashes), held_out=held_out)
            micro_batch = self.micro_batch or recipe.batch_size
            with enough_memory(str(teacher.device), micro_batch, self.cache_mb, recipe.window):
                return train(recipe, teacher, windows, source, Path(out), options=options)

    def plan(self) -> Plan:
        """What the run would cost. The teacher is loaded and some windows are run; nothing is written.

        Raises:
            InvalidInput, ConfigurationError, Mismatch: as `train`.
        """
        from sensedict_trainer.distil.plan import make_plan
        from sensedict_trainer.teacher import check_identity

        recipe = self._checked()
        with self._opened(recipe) as (teacher, windows, source):
            if source is not None:
                check_identity(teacher, source.identity)
            return make_plan(recipe, teacher, windows, source, self._options(recipe))

    def _checked(self) -> Recipe:
        """The recipe, when all that can be known to be wrong before anything is loaded is not."""
        from sensedict_trainer.distil.recipe import load_recipe
        from sensedict_trainer.distil.teacher_states import check_states
        from sensedict_trainer.options import own_device
        from sensedict_trainer.teacher import check_device
        from sensedict_trainer.text_sources import check_sources, read_documents

        if not self.text:
            raise InvalidInput("there is no text to train on: name a source")
        check_sources([*self.text, *self.held_out])
        for source in self.text:
            next(read_documents([source]), None)  # the first line of one that has another form
        recipe = load_recipe(str(self.recipe), settings=self.settings, objective=self.objective, seed=self.seed)
        if recipe.uses_dictionary and self.dictionary is None:
            raise ConfigurationError(
                f"the objective {recipe.objective} needs a dictionary: name its file set (--snapshot FOLDER), or its "
                "name and a service's (--dictionary NAME and --server); kd needs none"
            )
        if self.teacher_states is not None:
            check_states(self.teacher_states, recipe)
        check_device(own_device(self.device))
        return recipe

    @contextmanager
    def _opened(self, recipe: Recipe) -> Iterator[tuple[Teacher, list[TokenWindow], SenseSource | None]]:
        """Dictionary, teacher and text, each told of."""
        from sensedict_trainer.options import describe_senses, own_device
        from sensedict_trainer.teacher import load_teacher
        from sensedict_trainer.text import cut_windows, read_documents

        with self._dictionary() if recipe.uses_dictionary else nullcontext() as source:
            if source is not None:
                self.tell(describe_senses(source.identity))
            teacher = load_teacher(str(self.teacher), self.dtype, own_device(self.device))
            self.tell(teacher.summary)
            _check_window(recipe, teacher)
            yield teacher, cut_windows(read_documents(self.text), teacher.tokenizer, recipe.window, self.tokens), source

    def _held_out(self, recipe: Recipe, teacher: Teacher, windows: Sequence[TokenWindow]) -> list[TokenWindow]:
        from sensedict_trainer.text import check_held_out, cut_windows, read_documents

        if not self.held_out:
            return []
        found = cut_windows(read_documents(self.held_out), teacher.tokenizer, recipe.window)
        check_held_out(found, windows)
        return found

    def _dictionary(self) -> AbstractContextManager[SenseSource]:
        from sensedict_trainer.options import open_source

        if self.server is not None:
            return open_source(str(self.dictionary), self.server, None, self.patience)
        return open_source(None, "", Path(str(self.dictionary)), self.patience)

    def _options(
        self, recipe: Recipe, fresh: bool = False, text_sources: tuple[tuple[str, str], ...] = ()
    ) -> TrainOptions:
        from sensedict_trainer.distil.loop import TrainOptions

        return TrainOptions(
            cache_bytes=self.cache_mb * 2**20,
            micro_batch=self.micro_batch,
            checkpoint_every=self.checkpoint_every,
            keep=self.keep,
            evaluate_every=self.evaluate_every,
            fresh=fresh,
            name=recipe.objective,
            activations=self.activations,
            teacher_states=self.teacher_states,
            tensorboard=self.tensorboard,
            text_sources=text_sources,
        )


def _check_window(recipe: Recipe, teacher: Teacher) -> None:
    """Let pass windows that the teacher can read."""
    context = getattr(teacher.model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(context, int) and 0 < context < recipe.window:
        raise InvalidInput(
            f"window is {recipe.window}, and the teacher {teacher.name} reads {context} tokens at most: its states "
            f"beyond mean nothing; use --set window={context} or less"
        )
