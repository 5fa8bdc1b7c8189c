"""Functions that compute none of the procedures. Names are slots, as in `code_templates.py`."""

from __future__ import annotations

OTHER_PYTHON = (
    '''def reverse_words(<p>):
    """{Return the words in reverse order.|Last word first.}"""
    <out> = <p>.split()
    <out>.reverse()
    return " ".join(<out>)
''',
    '''class History:
    """{Keeps the last few items.|A queue that forgets its oldest entry.}"""

    def __init__(self, size):
        self.size, self.items = size, []

    def push(self, <p>):
        self.items.append(<p>)
        del self.items[: -self.size]  # {drop what is too old|keep only the newest}
''',
    '''import csv


def read_rows(<p>, delimiter=","):
    """{Yield one dict for each row|Rows as dicts}, {skipping blank ones|without the empty ones}."""
    with open(<p>, newline="") as handle:
        for <out> in csv.DictReader(handle, delimiter=delimiter):
            if any(<out>.values()):
                yield {key.strip(): cell.strip() for key, cell in <out>.items()}
''',
    '''def is_palindrome(<p>):
    """{True if the text reads the same backwards.|Ignores case and spaces.}"""
    <out> = [ch.lower() for ch in <p> if ch.isalpha()]
    return <out> == <out>[::-1]
''',
    '''from collections import Counter


def count_letters(<p>):
    """{How often each letter occurs|Letter counts}, {most frequent first|sorted by count}."""
    <out> = Counter(ch for ch in <p>.lower() if ch.isalpha())
    return <out>.most_common()
''',
    '''from collections import defaultdict


def group_by_initial(<p>):
    """{Words under their first letter.|A small index of words.}"""
    <out> = defaultdict(list)
    for <q> in sorted(<p>):
        <out>[<q>[0].upper()].append(<q>)  # {sorted input keeps each list sorted|one list a letter}
    return dict(<out>)
''',
    '''def retry(<cb>, attempts):
    """{Call again after a failure|Try several times}, {then give up|raise the last error}."""
    for remaining in reversed(range(attempts)):
        try:
            return <cb>()
        except OSError:
            if not remaining:  # {out of attempts|nothing left to try}
                raise
''',
    '''def merge_settings(<p>, <q>):
    """{Later settings win.|The second mapping overrides the first.}"""
    <out> = dict(<p>)
    for key, setting in <q>.items():
        <out>[key] = merge_settings(<out>.get(key, {}), setting) if isinstance(setting, dict) else setting
    return <out>
''',
)

OTHER_JAVASCRIPT = (
    """// {Wait until the calls stop.|Debounce a callback.}
function debounce(<cb>, pause) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => <cb>(...args), pause);
  };
}
""",
    """/** {Escapes text for HTML.|Makes user text safe to show.} */
function escapeHtml(<p>) {
  return <p>.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
""",
    """const unique = (<p>) => {
  const <out> = new Set();
  for (const entry of <p>) <out>.add(entry); // {first occurrence wins|order is kept}
  return [...<out>];
};
""",
    """// {Listeners by event name.|A tiny event bus.}
class Bus {
  listeners = new Map();

  on(event, <cb>) {
    const known = this.listeners.get(event) ?? [];
    this.listeners.set(event, [...known, <cb>]);
  }

  emit(event, ...args) {
    for (const <cb> of this.listeners.get(event) ?? []) <cb>(...args);
  }
}
""",
    """async function loadJson(<p>) {
  const <out> = await fetch(<p>);
  if (!<out>.ok) throw new Error(`{cannot load|request failed for} ${<p>}`);
  return <out>.json();
}
""",
    """// {Title case, one word at a time.|Capital letters for headings.}
const titleCase = (<p>) =>
  <p>
    .split(" ")
    .map((<q>) => <q>.charAt(0).toUpperCase() + <q>.slice(1))
    .join(" ");
""",
    """function toggle(<p>, name) {
  if (<p>.has(name)) <p>.delete(name);
  else <p>.add(name); // {the caller redraws|returns the same set}
  return <p>;
}
""",
)
