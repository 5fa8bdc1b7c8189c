"""Chat templates of several kinds for the character tokenizer, and chats to write by them."""

from __future__ import annotations

from typing import Any

from tiny import character_tokenizer

#: No marks; the beginnings of a chat agree with the whole chat.
PLAIN = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
#: As PLAIN, with BOS in front and marks around what the assistant writes.
MARKED = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] + ': ' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '\\n' }}{% endgeneration %}{% else %}{{ m['content'] + '\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
#: Earlier answers lose what stands in brackets, so that beginnings do not agree.
FORGETFUL = (
    "{% for m in messages %}{{ m['role'] + ': ' }}"
    "{% if loop.last %}{{ m['content'] }}{% else %}{{ m['content'].split(')')[-1] }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
#: Names the tools in front; refuses a system message.
WITH_TOOLS = (
    "{% for t in tools or [] %}{{ 'tool ' + t['function']['name'] + '\\n' }}{% endfor %}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('No system message, please.') }}{% endif %}"
    "{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

MESSAGES = [
    {"role": "system", "content": "be kind."},
    {"role": "user", "content": "what is 2+2?"},
    {"role": "assistant", "content": "it is 4."},
    {"role": "user", "content": "and 3+3?"},
    {"role": "assistant", "content": "it is 4."},
]


def chat_tokenizer(template: str | None, bos: bool = False) -> Any:
    """The character tokenizer with a chat template; its EOS is "=", a character of its own."""
    tokenizer = character_tokenizer(bos)
    tokenizer.chat_template = template
    tokenizer.eos_token = "="
    return tokenizer
