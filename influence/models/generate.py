"""Greedy completions: of the queries a model is to be explained on, and of a local model as a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from influence.errors import ModelError
from influence.models.load import LanguageModel


@torch.no_grad()
def greedy(language_model: LanguageModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[str]:
    """The most likely completion of each prompt, up to EOS or `max_new_tokens`, as text without special tokens.

    Prompts (token ids) are padded on the left and masked, so that each continues as it would alone.

    Raises:
        ModelError: a prompt leaves no room for a reply in the model's context.
    """
    model, tokenizer = language_model.model, language_model.tokenizer
    longest = max(map(len, prompts))
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and longest + max_new_tokens > context:
        raise ModelError(
            f"A prompt of {longest} tokens and a reply of {max_new_tokens} do not fit into the context of "
            f"{language_model.name}.",
            have=f"a context of {context} tokens",
            fix="Use a model of longer context, shorter prompts or shorter replies.",
        )
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    pad = pad if pad is not None else 0
    ids_BT = torch.full((len(prompts), longest), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask_BT[row, longest - len(prompt) :] = 1
    generate: Any = model.generate
    output_BT = generate(
        input_ids=ids_BT.to(model.device),
        attention_mask=mask_BT.to(model.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        pad_token_id=pad,
    )
    return list(tokenizer.batch_decode(output_BT[:, longest:], skip_special_tokens=True))


@dataclass(frozen=True)
class Generator:
    """Replies of a causal language model, one prompt at a time, greedily; with its chat template if it has one.

    Args:
        language_model: Model and tokenizer.
        max_new_tokens: Most tokens of a reply.
    """

    language_model: LanguageModel
    max_new_tokens: int = 400

    @property
    def name(self) -> str:
        """The model's parameters and the length its replies may have."""
        return f"hf:{self.language_model.fingerprint}:{self.max_new_tokens}"

    def __call__(self, prompts: list[str]) -> list[str]:
        """A reply to each prompt.

        Raises:
            ModelError: a prompt leaves no room for a reply in the model's context.
        """
        return [self._reply(prompt) for prompt in prompts]

    def _reply(self, prompt: str) -> str:
        tokenizer = self.language_model.tokenizer
        if tokenizer.chat_template:
            prompt = str(
                tokenizer.apply_chat_template(
                    [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
                )
            )
        ids = tokenizer(prompt, add_special_tokens=not tokenizer.chat_template)["input_ids"]
        return greedy(self.language_model, [list(ids)], self.max_new_tokens)[0]
