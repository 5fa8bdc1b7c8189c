"""A judge behind any OpenAI-compatible server (vLLM, llama.cpp, a hosted one), at temperature 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from influence.generate.client import ChatClient, content


@dataclass(frozen=True)
class OpenAIJudge(ChatClient):
    """Replies of one model of a server, each of at most `max_tokens` tokens; the rest is as for any `ChatClient`."""

    max_tokens: int = 600

    @property
    def name(self) -> str:
        """The model and the length its replies may have; the server's address is not part of it."""
        return f"openai:{self.model_name}:{self.max_tokens}"

    def replies(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """(number of the prompt, reply), as they come."""
        settings = {"temperature": 0, "max_tokens": self.max_tokens}
        return self.chat(prompts, [settings] * len(prompts), content)
