// Tables: sorted by buttons in their headers, paged, saved as CSV.

import { document } from "./browser.js";
import { button, el, muted, name, scroll, show, sign, toggle, unspoken } from "./elements.js";
import { documentLink } from "./queries.js";
import { csvText, sorted } from "./rows.js";
import { meta, put, state } from "./state.js";
import { column, count, many, plain } from "./words.js";

const PAGE = 200;

// A column: `key` names it in CSV and in the address, `value` sorts it, `draw` shows it; without either it is only saved.
// One that is `extra` is drawn where all numbers were asked for (`cols=all`), or where it sorts the table.
export const numeric = (key, title, unit, value, more) => ({ key, title, unit, value, number: true, ...more });
export const ranked = (key, title, unit, value, more) =>
  numeric(key, title, unit, value, { draw: (row) => (value(row) == null ? "–" : count(value(row))), ...more });
export const worded = (key, title, value, more) => ({ key, title, value, draw: (row) => name(value(row)), ...more });

export const signColumn = (value) => ({
  key: "sign",
  title: "sign",
  value: (row) => Math.sign(value(row)),
  draw: (row) => sign(value(row)),
  cls: "glyph",
});

export function save(file, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: `${plain(meta.title).replace(/[^\w.-]+/g, "-") || "run"}_${file}` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export function csv(what, columns, rows) {
  save(what + ".csv", "text/csv;charset=utf-8", csvText(columns, rows));
}

// A table of rows. Its order is kept in the address as `sort=key` or `sort=-key`, under `prefix` where a view has two.
export function sortable({ rows, columns, what, caption, prefix = "", first = "", said, open }) {
  const key = prefix + "sort", asked = state.get(key) || first, down = asked.startsWith("-");
  const by = columns.find((c) => c.key === asked.replace(/^-/, ""));
  const list = by ? sorted(rows, by.value, down) : rows;
  const whole = state.get("cols") === "all", spare = columns.some((c) => c.extra);
  const drawn = columns.filter((c) => (c.draw || c.number) && (!c.extra || whole || c === by));
  const texts = new Map(
    drawn.filter((c) => !c.draw).map((c) => [c, column(list.map((row) => Number(c.value(row) ?? NaN)))]),
  );
  const head = (c) => {
    const order = by !== c ? "none" : down ? "descending" : "ascending";
    const parts = [c.title, by === c && unspoken(down ? " ↓" : " ↑")];
    const sort = () => put({ [key]: by === c && !down ? "-" + c.key : c.key }, true);
    return el(
      "th",
      { scope: "col", class: c.number ? "number" : c.cls, "aria-sort": c.plain ? null : order },
      c.plain ? c.title : el("button", { type: "button", click: sort }, parts),
      c.unit && el("small", null, c.unit),
    );
  };
  const cell = (c, row, n) =>
    el(
      "td",
      {
        class: c.number ? "number " + (c.faint && c.faint(row) ? "out" : "") : c.cls,
        "data-title": c.number && cards ? [c.title, c.unit].filter(Boolean).join(" ") : null,
      },
      c.draw ? c.draw(row) : texts.get(c)[n],
    );
  const cards = columns.some((c) => c.cls === "snippet");
  const body = el("tbody"), more = button("", () => fill(body.children.length + PAGE));
  const fill = (to) => {
    const from = body.children.length;
    body.append(
      ...list.slice(from, to).map((row, n) =>
        el("tr", { "data-open": open && open(row) }, drawn.map((c) => cell(c, row, from + n)))
      ),
    );
    more.hidden = body.children.length >= list.length;
    more.textContent = `Show more (${count(list.length - body.children.length)} left)`;
  };
  fill(PAGE);
  return el(
    "div.data",
    null,
    el(
      "p.tools",
      null,
      muted(said || many(list.length, "row")),
      spare && toggle("All numbers", whole, { cols: whole ? null : "all" }),
      button("CSV", () => csv(what, columns, list), { "data-csv": what }),
    ),
    scroll(
      caption,
      el("table.documents" + (cards ? ".cards" : ""), null, el("thead", null, el("tr", null, drawn.map(head))), body),
    ),
    more,
  );
}

// A passage: plain and marked pieces in turn.
export const marked = (pieces) => pieces.map((piece, n) => (n % 2 ? el("mark", null, show(piece)) : show(piece)));
const HOW = { tokens: "by tokens", words: "by words", beginning: "beginning", found: "" };

// Columns of documents; `doc` gives the number of a row's document, `passages` what each shows for the query.
export const documentColumns = (doc, i, passages, unit = "strongest, or nearest to the completion") =>
  [
    worded("source", "source", (row) => meta.docs.source[doc(row)], { cls: "source" }),
    worded("document", "document", (row) => meta.docs.id[doc(row)], {
      draw: (row) => documentLink(doc(row), i),
      cls: "id",
    }),
    meta.texts !== "none" && (passages
      ? worded("passage", "passage", (row) => passages[doc(row)].slice(1).join(""), {
        unit,
        draw: (row) => {
          const [how, ...pieces] = passages[doc(row)];
          return [el("span", { dir: "auto" }, marked(pieces)), el("span.how", null, HOW[how])];
        },
        cls: "snippet",
        plain: true,
      })
      : worded("text", "text", (row) => meta.docs.snippet[doc(row)], {
        unit: "beginning",
        draw: (row) => el("span", { dir: "auto" }, show(meta.docs.snippet[doc(row)])),
        cls: "snippet",
        plain: true,
      })),
  ].filter(Boolean);
