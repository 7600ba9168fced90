"""A tiny but real teacher for tests: a random Llama and a byte-level tokenizer, saved as a plain folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

# In falling frequency, as `corpus` draws them.
WORDS = """
hot cold warm day night big small light dark happy unhappy kind unkind good bad open closed old new young high low
the a of and to in is was it on for with as at by an be this that from or one had not but what all were when we there
fire water house river stone bird tree road sea wind snow rain sun moon star king queen man woman child city field
""".split()  # noqa: SIM905 - a list of sixty quoted words reads worse


def corpus(sentences: int = 400, seed: int = 0) -> list[str]:
    """Random sentences over a small vocabulary, the same for the same seed; frequencies fall as Zipf's do."""
    generator = torch.Generator().manual_seed(seed)
    weights = 1.0 / torch.arange(1, len(WORDS) + 1)
    texts = []
    for _ in range(sentences):
        length = int(torch.randint(6, 18, (1,), generator=generator))
        drawn = torch.multinomial(weights, length, replacement=True, generator=generator)
        texts.append(" ".join(WORDS[int(i)] for i in drawn).capitalize() + ".")
    return texts


def save_tokenizer(folder: Path, vocabulary: int = 400, phrases: Sequence[str] = ()) -> None:
    """A byte-level BPE trained on the little corpus, and on phrases as often as that has sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = corpus()
    backend.train_from_iterator([*texts, *(len(texts) * list(phrases))], trainer)
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>").save_pretrained(folder)


def save_tiny_teacher(
    folder: Path,
    layers: int = 4,
    dim: int = 32,
    seed: int = 0,
    tied: bool = True,
    vocabulary: int = 400,
    phrases: Sequence[str] = (),
) -> Path:
    """Write a random Llama (4 layers, D = 32, V = 400) and its tokenizer into `folder`, float32; gives the folder."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder, vocabulary, phrases)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=dim,
        intermediate_size=2 * dim,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        initializer_range=0.2,  # so that layers matter and hidden states differ
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).to(torch.float32).eval().save_pretrained(folder)
    return folder
