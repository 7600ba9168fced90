"""Tasks: prompts, and that batches, a shared prefix and shared rows change nothing against a plain loop."""

from __future__ import annotations

import io
import json
import lzma
import math
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from sensedict.errors import ConfigurationError, InvalidInput
from sensedict_trainer.tasks import registry
from sensedict_trainer.tasks.choice import ChoiceTask
from sensedict_trainer.tasks.likelihood import Request, log_likelihoods
from sensedict_trainer.tasks.prompts import Fitter, lead_of
from sensedict_trainer.tasks.questions import CHOICE_SETS, Item, Question
from sensedict_trainer.tasks.registry import ask, load_tasks, score, score_all
from sensedict_trainer.tasks.task import Asking

ARC = [
    {
        "id": str(i),
        "question": f"Which of these is the number after {i}?",
        "choices": {"text": [f"it is {i + 1}", "none of them", str(i), "a cat"], "label": list(labels)},
        "answerKey": key,
    }
    for i, (labels, key) in enumerate([("ABCD", "A"), ("1234", "1"), ("ABCD", "A"), ("ABCD", "C"), ("ABCD", "A")])
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([json.dumps(row) for row in ARC] + ["Question: why\nAnswer: none\n\n"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,  # wide enough that answers differ by whole nats
        bos_token_id=None,
        eos_token_id=None,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@pytest.fixture
def arc_file(tmp_path: Path) -> Path:
    path = tmp_path / "arc.jsonl.xz"
    path.write_bytes(lzma.compress("".join(json.dumps(row) + "\n" for row in ARC).encode()))
    return path


def plain_log_likelihood(model: PreTrainedModel, request: Request) -> float:
    """One request alone, no cache, no padding, the whole logits, in float64."""
    ids = torch.tensor([[*request.context, *request.continuation]])
    with torch.no_grad():
        logits = model(ids).logits[0].double()
    start = len(request.context)
    return sum(
        (logits[start + i - 1] - logits[start + i - 1].logsumexp(-1))[token].item()
        for i, token in enumerate(request.continuation)
    )


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("shared", [0, 1, 40])
def test_batches_and_prefix_change_nothing(model: PreTrainedModel, batch_size: int, shared: int) -> None:
    generator = np.random.default_rng(shared)
    prefix = tuple(generator.integers(0, 200, shared).tolist())
    requests = [
        Request(
            (*prefix, 200 + i, *generator.integers(0, 200, i % 5).tolist()),
            tuple(generator.integers(0, 300, 1 + i % 7).tolist()),
        )
        for i in range(11)
    ]
    requests += [Request(requests[0].context, (token,)) for token in (7, 8, 7)]  # read at one position
    found = log_likelihoods(model, requests, batch_size)
    expected = [plain_log_likelihood(model, request) for request in requests]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
    assert found[-3] == found[-1]


def test_one_context_is_a_prefix_of_the_other(model: PreTrainedModel) -> None:
    requests = [Request((5, 6, 7), (8, 9)), Request((5, 6, 7, 8), (9,)), Request((5, 6, 7), (8,))]
    first, rest, joint = log_likelihoods(model, requests, 2)[[2, 1, 0]]
    assert first + rest == pytest.approx(joint, abs=2e-4)  # the chain rule


@pytest.mark.parametrize("shots", [0, 2])
def test_score_is_that_of_whole_texts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, arc_file: Path, shots: int
) -> None:
    names = [f"arc_easy{form}:{arc_file}" for form in ("", "/letter")]
    tasks = load_tasks(names, shots=shots, seed=1)
    assert [task.name for task in tasks] == [f"arc_easy/{f}" for f in ("continuation", "continuation_norm", "letter")]
    passes: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda *_: passes.append(1))
    found = score_all(model, tokenizer, tasks, batch_size=64)
    hook.remove()
    assert len(passes) == 4  # a prefix and a batch for the two forms of continuations, and as many for letters
    for task, score_found in zip(tasks, found, strict=True):
        assert isinstance(task, ChoiceTask)
        right = []
        for question in task.questions:
            before = "".join(task.examples[""]) + question.contexts[0]
            size = len(tokenizer(before)["input_ids"])
            values = []
            for ending in question.endings:
                ids = tokenizer(f"{before} {ending}")["input_ids"]
                value = plain_log_likelihood(model, Request(tuple(ids[:size]), tuple(ids[size:])))
                values.append(value / len(ending) if task.name.endswith("norm") else value)
            right.append(int(np.argmax(values)) == question.answer)
        assert list(score_found.right) == right
        assert score_found.value == np.mean(right)
        assert score_found.standard_error == pytest.approx(np.std(right, ddof=1) / math.sqrt(len(right)))
        assert (score_found.name, score_found.chance) == (task.name, 0.25)
        assert (score_found.questions, score_found.shots) == (5 - shots, shots)


def test_prompts_are_those_of_lm_eval(tmp_path: Path) -> None:
    """Written out by hand from the templates that lm-evaluation-harness ships."""

    def asked(name: str, form: str, row: dict[str, object]) -> tuple[str, tuple[str, ...], tuple[str, ...], int]:
        from sensedict_trainer.tasks.rows import Row

        data_set = CHOICE_SETS[name]
        item = data_set.item(Row("f:1", row), {})
        question = data_set.question(item, form)
        return data_set.heading(item.group, form), question.contexts, question.endings, question.answer

    piqa = {"goal": "open a jar", "sol1": "twist it", "sol2": "eat it", "label": 0}
    prompt = "Question: open a jar\nAnswer:"
    assert asked("piqa", "continuation", piqa) == ("", (prompt, prompt), ("twist it", "eat it"), 0)
    listed = "Question: open a jar\nA. twist it\nB. eat it\nAnswer:"
    assert asked("piqa", "letter", piqa) == ("", (listed, listed), ("A", "B"), 0)

    mmlu = {"subject": "high_school_physics", "question": " how? ", "choices": ["w", "x", "y", "z"], "answer": 2}
    letter = "The following are multiple choice questions (with answers) about high school physics.\n\n"
    listed = "how?\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    assert asked("mmlu", "letter", mmlu) == (letter, (listed,) * 4, ("A", "B", "C", "D"), 2)
    topic = "The following are questions (with answers) about high school physics.\n\n"
    prompt = "Question: how?\nAnswer:"
    assert asked("mmlu", "continuation_norm", mmlu) == (topic, (prompt,) * 4, ("w", "x", "y", "z"), 2)

    labelled = {"question": "who? ", "choices": {"text": ["p", "q"], "label": ["1", "2"]}, "answerKey": "2"}
    assert asked("commonsense_qa", "letter", labelled)[1][0] == "Question: who?\nA. p\nB. q\nAnswer:"
    assert asked("arc_challenge", "continuation", labelled)[1:] == (("Question: who? \nAnswer:",) * 2, ("p", "q"), 1)

    swag = {"activity_label": "Roof", "ctx": "unused", "ctx_a": "A man. [step] Sits.", "ctx_b": "he", "label": "1"}
    endings = ["goes [title] Away", " [x] stays  here"]
    context = "Roof: A man. Sits. He"
    expected = ("", (context, context), ("goes. Away", " stays here"), 1)
    assert asked("hellaswag", "continuation", {**swag, "endings": endings}) == expected
    joined = {"activity_label": "Roof", "ctx": "A man. he", "endings": endings, "label": 1}
    assert asked("hellaswag", "continuation", joined)[1][0] == "Roof: A man. he"

    wino = {"sentence": "Ann saw Eve so _ waved.", "option1": "Ann", "option2": "Eve", "answer": "2"}
    contexts = ("Ann saw Eve so Ann", "Ann saw Eve so Eve")
    assert asked("winogrande", "continuation", wino) == ("", contexts, ("waved.", "waved."), 1)
    assert CHOICE_SETS["winogrande"].forms == ("continuation",)


def test_leading_token_and_trailing_blank(tokenizer: PreTrainedTokenizerFast) -> None:
    """A family that begins every text with <bos> is scored with it; a context's last blank goes to the answer."""
    import copy

    from tokenizers.processors import TemplateProcessing

    begun = copy.deepcopy(tokenizer)
    begun.backend_tokenizer.post_processor = TemplateProcessing(single="x $A", special_tokens=[("x", 88)])
    assert (lead_of(begun), lead_of(tokenizer)) == ((88,), ())
    question = Question(("why ", "why "), ("none", "it is"), 0, "", "f:1")
    fitted = Fitter(begun, None).fit(question, "", ())
    for request, ending in zip(fitted.requests, question.endings, strict=True):
        assert request.context == (88, *tokenizer("why")["input_ids"])
        assert tokenizer.decode(request.continuation) == f"  {ending}"


def test_what_is_too_long_loses_examples_then_its_beginning(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    window = model.config.max_position_embeddings
    rows = [{"goal": f"{i} " + "why " * 40, "sol1": "it is", "sol2": "none", "label": i % 2} for i in range(6)]
    rows += [{"goal": "why " * 420, "sol1": "none", "sol2": "it", "label": 0}]
    rows += [{"goal": "first " + "why " * 900, "sol1": "none", "sol2": "it", "label": 0}]
    path = tmp_path / "piqa.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seed = next(s for s in range(99) if max(map(_line, load_tasks([f"piqa:{path}"], None, 3, s)[0].example_ids)) <= 6)
    (task,) = load_tasks([f"piqa/continuation:{path}"], shots=3, seed=seed)
    assert isinstance(task, ChoiceTask)
    found = {task.ids[reply.place]: reply for reply in ask(model, tokenizer, task, range(5), batch_size=3)}
    long, longest = found["piqa.jsonl:7"], found["piqa.jsonl:8"]
    assert [(r.dropped, r.cut) for r in found.values()][:3] == [(0, 0)] * 3
    assert 0 < long.dropped <= 3
    assert long.cut == 0
    assert longest.dropped == 3
    assert longest.cut > 0
    # Examples go from the left; the question keeps its end, and all the room that there is.
    question = task.questions[task.ids.index("piqa.jsonl:7")]
    fitted = Fitter(tokenizer, window).fit(question, "", task.examples[""])
    text = "".join(task.examples[""][long.dropped :]) + question.contexts[0]
    assert tokenizer.decode(fitted.requests[0].context) == text
    more = "".join(task.examples[""][long.dropped - 1 :]) + question.contexts[0]
    assert len(tokenizer(more)["input_ids"]) + 1 > window
    fitted = Fitter(tokenizer, window).fit(task.questions[task.ids.index("piqa.jsonl:8")], "", task.examples[""])
    assert max(len(r.context) + len(r.continuation) - 1 for r in fitted.requests) == window
    assert all(tokenizer.decode(r.context).endswith("why \nAnswer:") for r in fitted.requests)
    for reply in (long, longest):
        question = task.questions[reply.place]
        requests = Fitter(tokenizer, window).fit(question, "", task.examples[""]).requests
        assert reply.scores == pytest.approx([plain_log_likelihood(model, r) for r in requests], abs=2e-4)
    with pytest.raises(InvalidInput, match=r"f:1: an answer takes \d+ tokens, and the model reads 512"):
        Fitter(tokenizer, window).fit(Question(("why", "why"), ("why " * 600, "b"), 0, "", "f:1"), "", ())


def _line(name: str) -> int:
    return int(name.rpartition(":")[2])


def test_examples_are_of_the_subject_and_never_scored(tmp_path: Path) -> None:
    def row(subject: str, i: int) -> dict[str, object]:
        return {"subject": subject, "question": f"{subject} {i}", "choices": ["a", "b", "c", "d"], "answer": i % 4}

    def write(name: str, rows: list[dict[str, object]]) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("mmlu_test.jsonl", [row(s, i) for s in ("art", "law") for i in range(4)])
    write("mmlu_dev.jsonl", [row(s, i) for s in ("law", "art", "zoo") for i in (3, 4, 5, 6)])  # 3 is scored
    (task,) = load_tasks(["mmlu/letter"], tmp_path, shots=2, seed=4)
    assert isinstance(task, ChoiceTask)
    assert (len(task.ids), task.total, task.groups) == (8, 8, ("art",) * 4 + ("law",) * 4)
    for group in ("art", "law"):
        numbers = [int(text.split()[1]) for text in task.examples[group]]
        assert numbers == sorted(numbers)
        assert len(set(numbers) & {4, 5, 6}) == 2
        assert all(text.startswith(group) for text in task.examples[group])
    drawn = {load_tasks(["mmlu/letter"], tmp_path, shots=2, seed=seed)[0].example_ids for seed in range(9)}
    assert len(drawn) > 1
    with pytest.raises(InvalidInput, match=r"mmlu_dev\.jsonl has 3 questions of art that are not scored: too few"):
        load_tasks(["mmlu/letter"], tmp_path, shots=4)
    # Without a file of examples they come from what is scored, and are left out of it, with their doubles.
    write("twice.jsonl", [row("art", 0), row("art", 0), row("art", 1), row("art", 2)])
    for seed in range(5):
        (task,) = load_tasks([f"mmlu/letter:{tmp_path / 'twice.jsonl'}"], shots=1, seed=seed)
        assert isinstance(task, ChoiceTask)
        asked = {question.contexts[0].split("\n")[0] for question in task.questions}
        assert task.examples["art"][0].split("\n")[0] not in asked
        assert len(task.left_out) == task.total - len(task.ids) == (2 if "art 0" in task.examples["art"][0] else 1)
        assert set(task.example_ids) <= set(task.left_out)


def test_limit_is_chosen_by_seed(arc_file: Path) -> None:
    def ids(seed: int) -> tuple[str, ...]:
        return load_tasks([f"arc_easy/letter:{arc_file}"], limit=2, seed=seed)[0].ids

    assert ids(3) == ids(3)
    assert len({ids(seed) for seed in range(8)}) > 1
    assert all(list(ids(seed)) == sorted(ids(seed)) for seed in range(8))


def test_score_of_one_and_replies_of_some(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, arc_file: Path
) -> None:
    (task,) = load_tasks([f"arc_challenge/letter:{arc_file}"], shots=1)
    every = task.ask(model, tokenizer, range(4), Asking())
    some = task.ask(model, tokenizer, [3, 1], Asking(batch_size=1, share=False))
    for one in some:
        assert one.scores == pytest.approx(every[one.place].scores, abs=2e-4)
    assert score(model, tokenizer, task).right == tuple(task.judge(reply).right for reply in every)


def test_an_item_has_choices_under_letters() -> None:
    item = Item("why?", tuple("pqrstuvwxy"), 9)
    question = CHOICE_SETS["arc_easy"].question(item, "letter")
    assert question.solved.endswith("J. y\nAnswer: J")


def test_no_number_is_no_answer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, arc_file: Path) -> None:
    """The first of several NaN is the largest to numpy."""
    import copy

    broken = copy.deepcopy(model)
    torch.nn.init.constant_(broken.get_output_embeddings().weight, math.inf)
    (task,) = load_tasks([f"arc_easy/letter:{arc_file}"])
    with pytest.raises(ConfigurationError, match=r"arc_easy/letter: the model gives 0 a likelihood of NaN"):
        score(broken, tokenizer, task)


class Terminal(io.StringIO):
    """What is written to it is kept."""

    def isatty(self) -> bool:
        return True


def test_progress_is_in_whole_questions_and_for_terminals(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, arc_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a question with three choices each is a third of it, and three thirds are more than one."""
    choices = [{**row, "choices": {name: some[:3] for name, some in row["choices"].items()}} for row in ARC[:3]]
    arc_file.write_bytes(lzma.compress("".join(json.dumps(row) + "\n" for row in choices).encode()))
    (task,) = load_tasks([f"arc_easy/continuation:{arc_file}"], shots=0)
    monkeypatch.setattr(registry, "tqdm", partial(tqdm, mininterval=0))  # each update is shown, however quick
    told = {}
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        ask(model, tokenizer, task, range(3), batch_size=1, progress=True)
        told[stream.isatty()] = stream.getvalue()
    assert " 3/3 [" in told[True]
    assert not re.search(r"\d\.\d+/3", told[True])
    assert not told[False]
