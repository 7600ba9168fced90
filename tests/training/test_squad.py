"""SQuADv2: measures by hand, examples of the same paragraph, and what a real model writes against a plain loop."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_teacher import corpus, save_tiny_teacher
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sensedict.errors import InvalidInput
from sensedict_trainer.tasks.generation import write_lines
from sensedict_trainer.tasks.registry import load_tasks, score
from sensedict_trainer.tasks.squad import NEW_TOKENS, Reading, SquadTask, choose_examples, prompt_of
from sensedict_trainer.tasks.squad_measures import abstention, measure, normalize
from sensedict_trainer.tasks.task import Asking, Reply

Writer = tuple[PreTrainedModel, PreTrainedTokenizerBase]
TOLD = Reading("Rollo came in 911.", "When did Rollo come?", ("911", "in the year 911"), "1")
UNTOLD = Reading("Rollo came in 911.", "When did Rollo go?", (), "2")
ALONE = Reading("Rain falls.", "What falls?", ("Rain",), "3")


@pytest.mark.parametrize(
    ("answer", "right", "f1", "exact"),
    [
        ("911", TOLD.answers, 1.0, True),
        ("In the year 911.", TOLD.answers, 1.0, True),  # articles, case and punctuation do not count
        ("year 911 911", TOLD.answers, 2 * 2 / (3 + 3), False),  # against `in year 911`: one 911 of two, and `year`
        ("late 911", TOLD.answers, 2 * 1 / (2 + 1), False),  # the better one of two right answers
        ("912", TOLD.answers, 0.0, False),
        ("No answer", TOLD.answers, 0.0, False),
        ("no answer.", (), 1.0, True),
        ("no", (), 0.0, False),
        ("911", (), 0.0, False),
        ("", TOLD.answers, 0.0, False),
        ("", (), 0.0, False),  # silence is no abstention
        ("The.", (), 0.0, False),
    ],
)
def test_measures_by_hand(answer: str, right: tuple[str, ...], f1: float, exact: bool) -> None:
    found = measure(answer, right)
    assert (found.f1, found.exact) == (pytest.approx(f1), exact)
    assert found.abstained == answer.lower().startswith("no answer")
    assert found.empty == (answer in ("", "The."))


def test_abstention_and_normal_form_by_hand() -> None:
    assert abstention([True, True, False, False], [True, False, True, True]) == {
        "no_answer_precision": 1 / 2,
        "no_answer_recall": 1 / 3,
    }
    assert abstention([False], [False]) == {}
    assert normalize("An  apple a day—The “end”!") == "apple day— “end”"  # only ASCII punctuation is left out


def test_examples_and_prompts() -> None:
    again = Reading("Rollo came in 911.", "when did Rollo GO", ("911",), "4")
    everything = [TOLD, UNTOLD, ALONE, again]
    drawn = [[e.id for e in choose_examples(everything, everything, seed)] for seed in range(20)]
    first, second, third, _ = (set(column) for column in zip(*drawn, strict=True))
    assert first == {"2", "4"}
    assert second == {"1"}  # the same words are no example, though another row
    assert third == {"1", "2", "4"}
    assert choose_examples([ALONE], everything, 3) == choose_examples(everything, everything, 3)[2:3]
    head = "Answer each question with words of the text, or with No answer where the text has none.\n\n"
    asked = "Question: When did Rollo come?\nAnswer:"
    shown = "Question: When did Rollo go?\nAnswer: No answer\n\n"
    assert prompt_of(TOLD, None) == f"{head}Text: Rollo came in 911.\n\n{asked}"
    assert prompt_of(TOLD, UNTOLD) == f"{head}Text: Rollo came in 911.\n\n{shown}{asked}"
    assert prompt_of(ALONE, UNTOLD) == (
        f"{head}Text: Rollo came in 911.\n\n{shown}Text: Rain falls.\n\nQuestion: What falls?\nAnswer:"
    )
    with pytest.raises(InvalidInput, match="no question that could be the example of 2"):
        choose_examples([UNTOLD], [UNTOLD, again], 0)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    folder = save_tiny_teacher(tmp_path_factory.mktemp("writer"), layers=2, tied=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():  # so that lines end: at once, later, never
        model.lm_head.weight[tokenizer("\n")["input_ids"][0]] *= 4
    return model, tokenizer


def plain(writer: Writer, ids: list[int], new_tokens: int) -> str:
    """One prompt alone, the whole text through the model for every token."""
    model, tokenizer = writer
    new: list[int] = []
    while len(new) < new_tokens:
        with torch.no_grad():
            new.append(int(model(torch.tensor([[*ids, *new]])).logits[0, -1].argmax()))
        if new[-1] == tokenizer.eos_token_id or "\n" in tokenizer.decode(new):
            break
    return str(tokenizer.decode(new, skip_special_tokens=True)).partition("\n")[0].strip()


def test_lines_are_those_of_a_plain_loop(writer: Writer) -> None:
    model, tokenizer = writer
    prompts = [tokenizer(text[: 10 + 7 * i])["input_ids"] for i, text in enumerate(corpus(24, seed=2))]
    expected = [plain(writer, prompt, 12) for prompt in prompts]
    assert "" in expected
    assert len({len(tokenizer(line)["input_ids"]) for line in expected}) > 2
    # Qwen's folders have a penalty, others sample: neither is the likeliest token.
    model.generation_config.repetition_penalty = own = 3.0
    model.train()
    told: list[float] = []
    for batch_size in (1, 5, 64):
        assert write_lines(model, tokenizer, prompts, 12, batch_size, told.append) == expected
    assert sum(told) == 3 * 24
    assert model.training
    assert model.generation_config.repetition_penalty == own
    model.generation_config.repetition_penalty = None
    model.eval()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    texts = [" ".join(corpus(5 if i < 3 else 60, seed=i)) for i in range(4)]  # the last is longer than the context
    rows = [
        {
            "id": f"{p}-{q}",
            "title": "t",
            "context": f"water {text}",
            "question": ("Hot?", "Cold?")[q],
            "answers": {"text": ["water"] if q else []},
        }
        for p, text in enumerate(texts)
        for q in range(2)
    ]
    path = tmp_path / "squad_v2_validation.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_task_is_asked_and_scored(writer: Writer, file: Path) -> None:
    model, tokenizer = writer
    begun = copy.deepcopy(tokenizer)
    begun.backend_tokenizer.post_processor = TemplateProcessing(single="x $A", special_tokens=[("x", 88)])
    (task,) = load_tasks(["squad_v2"], file.parent, shots=5)
    assert isinstance(task, SquadTask)
    assert (task.name, task.shots, task.total, task.chance) == ("squad_v2/generate", 1, 8, 0.5)
    room = 256 - NEW_TOKENS - 1
    expected = []
    for place in range(8):
        ids = tokenizer(task.prompt(place))["input_ids"]
        dropped = int(len(ids) > room)
        if dropped:
            ids = tokenizer(prompt_of(task.readings[place], None))["input_ids"]
        text = plain(writer, [88, *ids[-room:]], NEW_TOKENS)
        expected.append(Reply(place, text=text, dropped=dropped, cut=max(len(ids) - room, 0)))
    assert [(reply.dropped, reply.cut > 0) for reply in expected] == [(0, False)] * 6 + [(1, True)] * 2
    assert task.ask(model, begun, range(8), Asking(3)) == expected
    answers = [
        task.judge(Reply(place, text=text))
        for place, text in enumerate(["No answer", "the water"] * 3 + ["", "No answer"])
    ]
    found = task.score(answers)
    assert found.value == 6 / 8
    assert found.others == {
        "exact_match": 6 / 8,
        "abstained": 4 / 8,
        "empty": 1 / 8,
        "no_answer_precision": 3 / 4,
        "no_answer_recall": 3 / 4,
    }
    assert task.row(expected[1], answers[1])["wanted"] == ["water"]
    whole = score(model, tokenizer, task, batch_size=4)
    assert len(whole.right) == 8
    (few,) = load_tasks(["squad_v2/generate"], file.parent, shots=0, limit=3)
    assert (few.shots, len(few.ids), few.example_ids) == (0, 3, ())
    model.config.max_position_embeddings = NEW_TOKENS
    with pytest.raises(InvalidInput, match="an answer may take 48 tokens, and the model reads 48"):
        task.ask(model, tokenizer, [0], Asking())
    model.config.max_position_embeddings = 256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": " "}, r"squad_v2_validation\.jsonl:9: `context` must be a text"),
        ({"question": 3}, r"`question` must be a text"),
        ({"answers": {"text": "water"}}, "`answers` must hold `text`, a list"),
        ({"answers": {"text": [""]}}, "none of them empty"),
        ({"answers": None}, "`answers` must hold"),
        ({"answers": {"text": ["c", "water"]}}, "the answer 'water' does not stand in `context`"),
        ({"id": "0-1"}, "the id 0-1 stands twice"),
    ],
)
def test_bad_row(file: Path, change: dict[str, Any], message: str) -> None:
    row = {"id": "x", "context": "c", "question": "q", "answers": {"text": []}}
    file.write_text(file.read_text() + json.dumps(row | change) + "\n")
    with pytest.raises(InvalidInput, match=message):
        load_tasks(["squad_v2"], file.parent)
