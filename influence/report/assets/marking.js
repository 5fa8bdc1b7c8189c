// Labels in the page: given by buttons and keys, kept while the page is open, saved and read as a file.

import { readAddress } from "./address.js";
import { $, button, el, live, note } from "./elements.js";
import { render } from "./frame.js";
import { LABELS, LabelSet } from "./labels.js";
import { documentOf, meta, queryOf } from "./state.js";
import { save } from "./tables.js";
import { many } from "./words.js";

const given = new LabelSet();
let saved = true, filesOpen = false;

export const labelOf = (i, doc) => given.of(meta.queries[i].id, meta.docs.id[doc]);

function giveLabel(i, doc, label, words) {
  given.give(meta.queries[i].id, meta.docs.id[doc], label, words);
  saved = false;
  render();
}

export function labelTools(i, doc) {
  const now = labelOf(i, doc);
  const choices = LABELS.map((label, n) =>
    button(`${n + 1} ${label === "own" ? "own words" : label}`, () => giveLabel(i, doc, label, now?.note), {
      class: "filter",
      "aria-pressed": String(now !== null && now.label === label),
    })
  );
  const words = now && now.label === "own" && el("input", {
    id: "own-words",
    type: "search",
    "aria-label": "Your own words",
    value: now.note,
    change: (event) => giveLabel(i, doc, "own", event.target.value),
  });
  const none = now && button("0 none", () => giveLabel(i, doc, null));
  return el(
    "p.tools.labels",
    { role: "group", "aria-label": "Label of this document" },
    "Label ",
    choices,
    words,
    none,
  );
}

export function labelFile() {
  const file = el("input", {
    id: "labels-file",
    type: "file",
    accept: ".jsonl,.json,.txt",
    change: async (event) => {
      const wrong = given.read(await event.target.files[0].text());
      await render();
      const left = wrong ? `; ${many(wrong, "line")} left out.` : ".";
      if ($("labels-status")) $("labels-status").textContent = many(given.all.size, "label") + " now" + left;
    },
  });
  return el(
    "details.plain.labels",
    { open: filesOpen, toggle: (event) => (filesOpen = event.target.open) },
    el("summary", null, `Labels: ${given.all.size}`),
    note("Keys 1 to 5 label the document in view, or the row chosen by j and k; 0 takes the label away. "),
    note("Labels are kept while this page is open: export them. influence labels compares the files of two people."),
    el(
      "p.tools",
      null,
      button("Export JSONL", () => {
        save("labels.jsonl", "application/x-ndjson", given.lines());
        saved = true;
      }),
      el("label", { for: "labels-file" }, "Import "),
      file,
    ),
    live("", "labels-status"),
  );
}

// The label with this number for what an address of a document names.
export function labelAt(address, number) {
  const { view, id, values } = readAddress(address), i = queryOf(values.get("q")), doc = documentOf(id ?? "");
  if (view !== "d" || i < 0 || doc < 0) return;
  giveLabel(i, doc, number ? LABELS[number - 1] : null, labelOf(i, doc)?.note);
}

addEventListener("beforeunload", (event) => saved || event.preventDefault());
