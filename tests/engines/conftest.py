"""A small Llama with random weights and a real tokenizer: the whole engine, without training."""

import json
from pathlib import Path

import pytest

SPECIAL = ["<|pad|>", "<|user|>", "<|assistant|>", "<think>", "</think>", "<|end|>"]
TEMPLATE = (
    "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
)
PROFILE = {
    "name": "tiny", "cues": ["Wait"], "step": "\n", "close_thinking": "</think>", "skip_thinking": "</think>",
    "induce_answer": "</think>", "answer_end": ["\n"], "answer_form": "plain", "max_tokens": 120, "answer_tokens": 12,
    "temperature": 0.8, "top_p": 1.0,
}  # fmt: skip


def save_tiny(folder: Path, **config: object) -> Path:
    """Write a random model with the given changes of its configuration."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    raw.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    text = ["Wait, what is 12+34? so 46 yes\nHmm, again, check 46-34"] * 8
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(text, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=SPECIAL[0], eos_token=SPECIAL[5], additional_special_tokens=SPECIAL[1:5]
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    shape = {
        "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512,
        "tie_word_embeddings": True, "eos_token_id": 5, "pad_token_id": 0, "bos_token_id": None,
        "initializer_range": 0.12,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**{**shape, **config})).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "profile.json").write_text(json.dumps(PROFILE))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The tiny model is quicker on one thread, and two suites side by side do not fight over the cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))
