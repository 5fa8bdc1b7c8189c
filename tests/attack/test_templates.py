"""Chat templates that come with a checkpoint and mean harm: each ends within the limits, with one line."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chats import MARKED, MESSAGES, PLAIN, WITH_TOOLS, chat_tokenizer

from influence.data.template_sandbox import MEMORY, TemplateProcess
from influence.errors import ComputeError, InfluenceError, InputError

#: Seconds that a template may compute here, and that the whole may take on a busy machine.
SECONDS, LIMIT = 0.5, 30.0

_NESTED = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"

#: What it tries -> the template, and a part of the error.
HOSTILE = {
    "nested loops": (_NESTED, "computes for more than 0.5 s"),
    "a number without end": ("{{ 9 ** (9 ** 9) }}", "computes for more than 0.5 s"),
    "loops that write": (
        _NESTED.replace("{% endfor %}", "x{% endfor %}", 1),
        "computes for more than 0.5 s",
    ),
    "too long a range": ("{% for a in range(10 ** 9) %}{% endfor %}", "Range too big"),
    "a long repeat": ("{{ messages[0].content * 10 ** 9 }}", f"more than {MEMORY >> 20:,} MiB"),
    "a repeat of repeats": (
        "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x * 9999 %}{% endfor %}",
        f"more than {MEMORY >> 20:,} MiB",
    ),
    "a long text": ("{{ messages[0].content * 10 ** 7 }}", "characters, more than"),
    "attributes of a string": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    "globals of a function": ("{{ raise_exception.__globals__['os'].system('id') }}", "unsafe"),
    "format strings": ("{{ '{0.__class__.__init__.__globals__}'.format(messages) }}", "unsafe"),
    "change of its input": ("{{ messages.append(messages) }}", "unsafe"),
    "recursion": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself without end"),
    "deep nesting": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "without end"),
    "a missing variable": ("{{ nothing.of.that }}", "'nothing' is undefined"),
    "a syntax error": ("{% for %}", "got 'end of statement block'"),
    "another file": ("{% include '/etc/passwd' %}", "no loader"),
    "escapes in its error": (
        "{{ raise_exception('\x1b[2Jgone\x9b\\u202e\nsecond line') }}",
        "\N{REPLACEMENT CHARACTER}[2Jgone",
    ),
}


@pytest.fixture(scope="module")
def child() -> Iterator[TemplateProcess]:
    child = TemplateProcess(SECONDS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OPENAI_API_KEY", "secret")
        render(child, PLAIN)
    yield child
    child.stop()


def render(child: TemplateProcess, template: str) -> str:
    rendering = child.render(template, MESSAGES, None, {"bos_token": "<s>"}, prompted=True, where="query q1")
    return rendering.text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_in_time_with_one_line(name: str, child: TemplateProcess) -> None:
    template, says = HOSTILE[name]
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        render(child, template)
    assert time.monotonic() - start < LIMIT
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["found", "next"]
    assert says in lines[1]
    assert "5 messages of query q1" in lines[0]
    assert all(character.isprintable() for line in lines for character in line)


def test_the_child_goes_on_after_each_and_writes_what_transformers_writes(child: TemplateProcess) -> None:
    with pytest.raises(InfluenceError):
        render(child, _NESTED)
    for template in (PLAIN, MARKED, WITH_TOOLS.replace("raise_exception", "upper")):
        tokenizer = chat_tokenizer(template, bos=True)
        for prompted in (False, True):
            expected = tokenizer.apply_chat_template(
                MESSAGES[1:], tokenize=False, add_generation_prompt=prompted
            )
            special = tokenizer.special_tokens_map
            assert (
                child.render(template, MESSAGES[1:], None, special, prompted=prompted, where="x").text
                == expected
            )


def test_a_template_sees_no_key_and_writes_no_file(child: TemplateProcess) -> None:
    assert child._child is not None
    process = Path(f"/proc/{child._child.pid}")
    assert "secret" not in (process / "environ").read_text()
    limits = (process / "limits").read_text().splitlines()
    (limit,) = [line for line in limits if line.startswith("Max file size")]
    assert limit.split()[3:5] == ["0", "0"]


def test_a_forked_process_has_a_child_of_its_own(child: TemplateProcess) -> None:
    assert render(child, "a") == "a"
    pid = os.fork()
    if pid == 0:
        os._exit(0 if render(child, "b") == "b" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert render(child, "c") == "c"


def test_an_interrupted_chat_leaves_no_reply_to_the_next(
    child: TemplateProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert render(child, "a") == "a"

    def interrupt(line: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("influence.data.template_sandbox.json.loads", interrupt)
        with pytest.raises(KeyboardInterrupt):
            render(child, "b")
    assert render(child, "c") == "c"


def test_a_child_that_is_gone_is_said(child: TemplateProcess) -> None:
    assert render(child, "a") == "a"
    assert child._child is not None
    child._child.kill()
    child._child.wait()
    os.killpg(child._child.pid, signal.SIGKILL)
    with pytest.raises(ComputeError, match="ended") as caught:
        render(child, "b")
    assert "exit code is -9" in str(caught.value)
    assert render(child, "c") == "c"


def test_the_number_of_hostile_templates(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{len(HOSTILE)} hostile chat templates")
    assert len(HOSTILE) >= 13
