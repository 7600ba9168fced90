"""Tasks: what is read, and that batches and a shared prefix change nothing against a plain loop."""

from __future__ import annotations

import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from sensedict.errors import InvalidInput
from sensedict_trainer.tasks.likelihood import Request, log_likelihoods, score_task
from sensedict_trainer.tasks.questions import Question, Task, load_task, parse_task_option

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
    found = log_likelihoods(model, requests, batch_size)
    expected = [plain_log_likelihood(model, request) for request in requests]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


def test_one_context_is_a_prefix_of_the_other(model: PreTrainedModel) -> None:
    requests = [Request((5, 6, 7), (8, 9)), Request((5, 6, 7, 8), (9,)), Request((5, 6, 7), (8,))]
    first, rest, joint = log_likelihoods(model, requests, 2)[[2, 1, 0]]
    assert first + rest == pytest.approx(joint, abs=2e-4)  # the chain rule


@pytest.mark.parametrize("shots", [0, 2])
def test_score_is_that_of_whole_texts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, arc_file: Path, shots: int
) -> None:
    task = load_task("arc_easy", arc_file, shots=shots, seed=1)
    right = {"continuation": [], "continuation_norm": []}
    for question in task.questions:
        before = "".join(f"{e.prompt} {e.choices[e.answer]}\n\n" for e in task.examples) + question.prompt
        size = len(tokenizer(before)["input_ids"])
        scores = []
        for choice in question.choices:
            ids = tokenizer(f"{before} {choice}")["input_ids"]
            scores.append(plain_log_likelihood(model, Request(tuple(ids[:size]), tuple(ids[size:]))))
        right["continuation"].append(int(np.argmax(scores)) == question.answer)
        normed = [score / len(choice) for score, choice in zip(scores, question.choices, strict=True)]
        right["continuation_norm"].append(int(np.argmax(normed)) == question.answer)
    for score in score_task(model, tokenizer, task, batch_size=5):
        assert score.name.startswith("arc_easy/")
        expected = right[score.name.removeprefix("arc_easy/")]
        assert list(score.right) == expected
        assert score.accuracy == np.mean(expected)
        assert score.standard_error == pytest.approx(np.std(expected, ddof=1) / math.sqrt(len(expected)))
        assert score.chance == 0.25
        assert (score.questions, score.shots) == (5 - shots, shots)


def test_leading_token_of_the_tokenizer_is_kept(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """A family that begins every text with <bos> is scored with it."""
    import copy

    from tokenizers.processors import TemplateProcessing

    begun = copy.deepcopy(tokenizer)
    begun.backend_tokenizer.post_processor = TemplateProcessing(single="x $A", special_tokens=[("x", 88)])
    task = Task("piqa", (Question("Question: why\nAnswer:", ("none", "it is"), 0, "f:1"),), (), 1, "")
    ids = tokenizer("Question: why\nAnswer:")["input_ids"]
    whole = [tokenizer("Question: why\nAnswer: " + choice)["input_ids"] for choice in task.questions[0].choices]
    expected = [plain_log_likelihood(model, Request((88, *ids), tuple(w[len(ids) :]))) for w in whole]
    plain, _ = score_task(model, begun, task)
    assert plain.right == (expected[0] > expected[1],)
    from sensedict_trainer.tasks.likelihood import _lead

    assert _lead(begun) == (88,)
    assert _lead(tokenizer) == ()


def test_arc_and_piqa_fields(tmp_path: Path) -> None:
    path = tmp_path / "piqa.jsonl"
    path.write_text(json.dumps({"goal": "open a jar", "sol1": "twist it", "sol2": "eat it", "label": 0}) + "\n\n")
    (question,) = load_task("piqa", path).questions
    assert question == Question("Question: open a jar\nAnswer:", ("twist it", "eat it"), 0, "piqa.jsonl:1")


def test_limit_and_shots_are_chosen_by_seed(arc_file: Path) -> None:
    task = load_task("arc_easy", arc_file, limit=2, shots=2, seed=3)
    assert task == load_task("arc_easy", arc_file, limit=2, shots=2, seed=3)
    assert (len(task.questions), task.shots, task.total) == (2, 2, 5)
    assert not {q.source for q in task.questions} & {q.source for q in task.examples}
    drawn = {
        tuple(q.source for q in load_task("arc_easy", arc_file, limit=2, seed=seed).questions) for seed in range(8)
    }
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answerKey": "E"}, r"arc\.jsonl:2: the answer 'E' is not among the labels A, B, C, D"),
        ({"answerKey": None}, r"arc\.jsonl:2: the answer None"),
        ({"question": " "}, r"arc\.jsonl:2: the question is empty"),
        ({"choices": {"text": ["a"], "label": ["A"]}, "answerKey": "A"}, r"arc\.jsonl:2: .*two or more choices"),
        ({"choices": {"text": ["a", "b"], "label": ["A"]}}, r"arc\.jsonl:2: 2 choices but 1 labels"),
        ({"choices": 3}, r"arc\.jsonl:2: "),
    ],
)
def test_bad_row_names_file_and_line(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "arc.jsonl"
    path.write_text(json.dumps(ARC[0]) + "\n" + json.dumps(ARC[2] | change) + "\n")
    with pytest.raises(InvalidInput, match=message):
        load_task("arc_easy", path)


def test_unusable_files(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"goal": "x"}\n')
    with pytest.raises(InvalidInput, match=r"t\.jsonl:1: no field 'label'"):
        load_task("piqa", path)
    path.write_text("{\n")
    with pytest.raises(InvalidInput, match=r"t\.jsonl:1: not JSON"):
        load_task("piqa", path)
    path.write_text("")
    with pytest.raises(InvalidInput, match="holds no question"):
        load_task("piqa", path)
    with pytest.raises(InvalidInput, match="cannot read"):
        load_task("piqa", tmp_path / "absent.jsonl.xz")
    (tmp_path / "broken.jsonl.xz").write_bytes(b"not xz")
    with pytest.raises(InvalidInput, match="cannot read"):
        load_task("piqa", tmp_path / "broken.jsonl.xz")
    with pytest.raises(InvalidInput, match="no task 'mmlu'"):
        load_task("mmlu", path)


def test_too_long_for_the_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    task = Task("piqa", (Question("Question: " + "why " * 900, ("a", "b"), 0, "f:1"),), (), 1, "")
    with pytest.raises(InvalidInput, match="use fewer shots"):
        score_task(model, tokenizer, task)


def test_task_option() -> None:
    assert parse_task_option("arc_easy:a:b.jsonl") == ("arc_easy", Path("a:b.jsonl"))
    for bad in ("arc_easy", "arc_easy:", "mmlu:x", ""):
        with pytest.raises(InvalidInput, match="NAME:FILE"):
            parse_task_option(bad)
