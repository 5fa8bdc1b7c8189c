"""Greedy completions of a local model: a judge without a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from influence.errors import ModelError
from influence.models.load import LanguageModel


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

    @torch.no_grad()
    def _reply(self, prompt: str) -> str:
        model, tokenizer = self.language_model.model, self.language_model.tokenizer
        if tokenizer.chat_template:
            prompt = str(
                tokenizer.apply_chat_template(
                    [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
                )
            )
        inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=not tokenizer.chat_template)
        length = inputs["input_ids"].shape[1]
        context = getattr(model.config, "max_position_embeddings", None)
        if context is not None and length + self.max_new_tokens > context:
            raise ModelError(
                f"A prompt of {length} tokens and a reply of {self.max_new_tokens} do not fit into the context of "
                f"{self.language_model.name}.",
                have=f"a context of {context} tokens",
                fix="Judge with a model of longer context.",
            )
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        generate: Any = model.generate
        output = generate(
            input_ids=inputs["input_ids"].to(model.device),
            attention_mask=inputs["attention_mask"].to(model.device),
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            pad_token_id=padding if padding is not None else 0,
        )
        return str(tokenizer.decode(output[0, length:], skip_special_tokens=True))
