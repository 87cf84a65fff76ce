"""Tiny random models and rows for training tests; a forward takes a millisecond."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from strop.tools.files import read_jsonl
from strop.training.adapter import Hardware
from strop.training.datasets import PairRow, SftRow
from strop.training.dpo import DpoConfig

CPU = Hardware("cpu", bf16=False)
VOCABULARY = 64
PAD = 0
QUICK = DpoConfig(learning_rate=1e-3, batch_size=4, epochs=2, save_steps=50, dtype="float32")
"""In float32, for exact figures are compared, on whatever machine."""
FREE = 3
"""The id that `talking_checkpoint` can be taught to stop with."""
TALKS = (
    "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}"
    "{% for message in messages %}<|turn|>{{ message.role }}\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def tiny_config(architecture: str) -> Any:
    """A two-layer Qwen2 or Llama with grouped query attention, seeded by nobody yet."""
    from transformers import LlamaConfig, Qwen2Config

    kind = {"qwen2": Qwen2Config, "llama": LlamaConfig}[architecture]
    return kind(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=architecture == "qwen2",
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=PAD,
    )


def tiny_checkpoint(directory: Path, architecture: str = "qwen2") -> Path:
    """A random checkpoint with a tokenizer of `VOCABULARY` words."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(tiny_config(architecture), dtype=torch.float32)
    for parameter in model.parameters():
        # Larger than the usual start, so that positions and masks matter to the logits.
        parameter.data.mul_(4.0)
    model.save_pretrained(directory)
    words = WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w3")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(words), pad_token="w0", bos_token="w1", eos_token="w2", unk_token="w3"
    )
    tokenizer.save_pretrained(directory)
    return directory


def talking_checkpoint(directory: Path) -> Path:
    """A random checkpoint with a chat template, an id a byte, and a token that can be taught as a stop,
    `FREE`; what form it writes calls in is not known."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    # In the places where `tiny_config` has padding, beginning and end.
    vocabulary = ["<|pad|>", "<|turn|>", "<|end|>", "<|free|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    config = tiny_config("qwen2")
    config.vocab_size, config.max_position_embeddings = len(vocabulary), 4096
    torch.manual_seed(7)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(directory)
    core = Tokenizer(models.BPE(vocab={text: index for index, text in enumerate(vocabulary)}, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|turn|>", "<|free|>"],
        chat_template=TALKS,
    )
    tokenizer.save_pretrained(directory)
    return directory


def tiny_adapter(
    checkpoint: Path,
    directory: Path,
    *,
    rank: int = 4,
    alpha: int = 8,
    seed: int = 0,
    layers: tuple[str, ...] = ("q_proj", "v_proj", "down_proj"),
) -> Path:
    """A random adapter that moves the logits, as training saves it; its base model is called ``tiny``."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from strop.training.adapter import save_adapter

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(layers), init_lora_weights=False, task_type="CAUSAL_LM"
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32), config)
    save_adapter(model, directory, base=checkpoint, name="tiny", profile=None)
    return directory


def ids(random: Random, length: int) -> tuple[int, ...]:
    """Ordinary token ids: none of the special ones."""
    return tuple(random.randrange(4, VOCABULARY) for _ in range(length))


def pairs(count: int, *, seed: int = 0, prompt: int = 12) -> list[PairRow]:
    """Pairs of different lengths; every third shares the start of its answers."""
    random = Random(seed)
    rows = []
    for number in range(count):
        start = ids(random, 3) if number % 3 == 0 else ()
        rows.append(
            PairRow(
                id=f"pair-{number}",
                prompt_ids=ids(random, prompt + random.randrange(8)),
                chosen_ids=(*start, *ids(random, 2 + random.randrange(6)), 2),
                rejected_ids=(*start, *ids(random, 3 + random.randrange(6))),
            )
        )
    return rows


def demonstrations(count: int, *, seed: int = 0) -> list[SftRow]:
    """Rows of different lengths; neighbours share a prompt."""
    random = Random(seed)
    prompts = [ids(random, 10 + random.randrange(6)) for _ in range((count + 1) // 2)]
    return [
        SftRow(id=f"row-{number}", prompt_ids=prompts[number // 2], answer_ids=(*ids(random, 4), 2))
        for number in range(count)
    ]


def log_of(directory: Path) -> list[dict[str, float]]:
    """The rows of a training's log."""
    return [row for _, row in read_jsonl(directory / "train_log.jsonl")[0]]


def weights(adapter: Path) -> dict[str, Any]:
    """An adapter's tensors by name."""
    from safetensors.torch import load_file

    return dict(load_file(adapter / "adapter_model.safetensors"))
