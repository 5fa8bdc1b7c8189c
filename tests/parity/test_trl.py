"""Token ids and loss masks against TRL's own preparation, over the chat templates that TRL ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from influence.data.corpus import read_corpus
from influence.data.document_tokens import TokenReport, encode_documents
from influence.errors import InputError
from influence.types import Loss

trl = pytest.importorskip("trl")

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
#: Templates with marks of what the assistant wrote.
MARKED = (
    "cohere_training", "deepseekv3_training", "gemma_training", "glm4moe_training", "gptoss_training",
    "llama3_training", "phi3_training", "qwen2_5_training", "qwen3_training", "lfm2_training",
)  # fmt: skip
#: The same families' own templates, without marks.
PLAIN = (
    "cohere",
    "gemma",
    "llama3",
    "phi3",
    "qwen2_5",
    "lfm2",
    "cohere2",
    "llama3_1",
    "phi3_5",
    "lfm2_v2",
)
USER = {"role": "user", "content": "What is 2 + 2?\n"}
ANSWER = {"role": "assistant", "content": "It is 4, I think."}
AGAIN = {"role": "user", "content": "And 3 + 3? Привет"}
CHAT = [USER, ANSWER, AGAIN, ANSWER]
WORDS = [
    "What is the answer to this question? It is 4, I think.",
    "And what else is there to say? Привет",
    "2 + 2",
]


def tokenizer(template: str | None, bos: bool) -> PreTrainedTokenizerFast:
    """A small byte-level BPE; BOS and the marks of turns are special tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        WORDS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    if bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    if template is not None:
        made.chat_template = (TEMPLATES / f"{template}.jinja").read_text()
    return made


def theirs(rows: list[dict[str, Any]], made: Any, folder: Path, assistant_only: bool) -> Any:
    """The data set that TRL trains on."""
    import datasets

    config = trl.SFTConfig(
        output_dir=str(folder),
        assistant_only_loss=assistant_only,
        max_length=None,
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    model = tiny_model("llama", vocab_size=512).model
    trainer = trl.SFTTrainer(
        model=model, args=config, train_dataset=datasets.Dataset.from_list(rows), processing_class=made
    )
    return trainer.train_dataset


def ours(rows: list[dict[str, Any]], made: Any, loss: Loss) -> list[tuple[list[int], list[int]]]:
    import datasets

    corpus = read_corpus(datasets.Dataset.from_list(rows), loss=loss)
    return [
        (ids, [int(counts) for counts in document.loss_mask or (True,) * len(ids)])
        for document, ids in encode_documents(corpus, made, 4096, False, TokenReport())
    ]


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("template", MARKED)
def test_chats_by_the_templates_marks(template: str, bos: bool, tmp_path: Path) -> None:
    made = tokenizer(template, bos)
    rows = [{"messages": CHAT}, {"messages": CHAT[:2]}]
    expected = theirs(rows, made, tmp_path, assistant_only=True)
    found = ours(rows, made, "assistant")
    assert [ids for ids, _ in found] == [row["input_ids"] for row in expected]
    assert [mask for _, mask in found] == [
        [int(label != -100) for label in row["labels"]] for row in expected
    ]
    assert 0 < sum(found[0][1]) < len(found[0][1])


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("template", PLAIN)
def test_prompts_and_completions_of_messages(template: str, bos: bool, tmp_path: Path) -> None:
    made = tokenizer(template, bos)
    rows = [{"prompt": CHAT[:3], "completion": CHAT[3:]}, {"prompt": CHAT[:1], "completion": CHAT[1:2]}]
    expected = theirs(rows, made, tmp_path, assistant_only=False)
    found = ours(rows, made, "assistant")
    assert [ids for ids, _ in found] == [row["input_ids"] for row in expected]
    assert [mask for _, mask in found] == [
        [int(label != -100) for label in row["labels"]] for row in expected
    ]


@pytest.mark.parametrize("bos", [False, True])
def test_prompts_and_completions_of_text(bos: bool, tmp_path: Path) -> None:
    made = tokenizer(None, bos)
    rows = [
        {"prompt": "What is the", "completion": " answer?"},
        {"prompt": "What is the answ", "completion": "er? Привет"},  # a token straddles the boundary
        {"prompt": "It is", "completion": " 4.</s>"},
    ]
    expected = theirs(rows, made, tmp_path, assistant_only=False)
    found = ours(rows, made, "assistant")
    assert [ids for ids, _ in found] == [row["input_ids"] for row in expected]
    assert [mask for _, mask in found] == [
        [int(label != -100) for label in row["labels"]] for row in expected
    ]


def test_whole_chats(tmp_path: Path) -> None:
    made = tokenizer("qwen2_5", False)
    rows = [{"messages": CHAT}]
    expected = theirs(rows, made, tmp_path, assistant_only=False)
    assert [ids for ids, _ in ours(rows, made, "all")] == [row["input_ids"] for row in expected]


def test_a_template_that_writes_the_prompt_otherwise_is_refused() -> None:
    """TRL trains on it with a warning, and the context of the answer is then another one than in use."""
    rows = [{"prompt": CHAT[:3], "completion": CHAT[3:]}]
    with pytest.raises(InputError, match="otherwise when others follow"):
        ours(rows, tokenizer("deepseekv3", False), "assistant")
