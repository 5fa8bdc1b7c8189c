// Tables: sorted by buttons in their headers, paged, saved as CSV.

const PAGE = 200;

// A column: `key` names it in CSV and in the address, `value` sorts it, `draw` shows it; without either it is only saved.
const numeric = (key, title, unit, value, more) => ({ key, title, unit, value, number: true, ...more });
const ranked = (key, title, unit, value, more) => numeric(key, title, unit, value, { draw: (row) => (value(row) == null ? "–" : count(value(row))), ...more });
const worded = (key, title, value, more) => ({ key, title, value, draw: (row) => name(value(row)), ...more });

const signColumn = (value) => ({ key: "sign", title: "sign", value: (row) => Math.sign(value(row)), draw: (row) => sign(value(row)), cls: "glyph" });

function csvCell(value) {
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  const text = value == null || typeof value === "number" ? "" : String(value);
  const guarded = /^[=+\-@\t\r]/.test(text) ? "'" + text : text; // a spreadsheet would run it
  return /[",\r\n]/.test(guarded) ? `"${guarded.replace(/"/g, '""')}"` : guarded;
}

function save(file, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: `${plain(meta.title).replace(/[^\w.-]+/g, "-") || "run"}_${file}` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function csv(what, columns, rows) {
  const lines = [columns.map((c) => c.key), ...rows.map((row) => columns.map((c) => c.value(row)))];
  save(what + ".csv", "text/csv;charset=utf-8", "\ufeff" + lines.map((line) => line.map(csvCell).join(",") + "\r\n").join(""));
}

function sorted(rows, value, down) {
  const rank = (v) => (v == null || Number.isNaN(v) ? null : v); // what is not defined stands last
  return rows.slice().sort((a, b) => {
    const x = rank(value(a)), y = rank(value(b));
    return x === null || y === null ? (x === null) - (y === null) : (down ? -1 : 1) * (x < y ? -1 : x > y ? 1 : 0);
  });
}

// A table of rows. Its order is kept in the address as `sort=key` or `sort=-key`, under `prefix` where a view has two.
function sortable({ rows, columns, what, caption, prefix = "", first = "", said, open }) {
  const key = prefix + "sort", asked = state.get(key) || first, down = asked.startsWith("-");
  const by = columns.find((c) => c.key === asked.replace(/^-/, ""));
  const list = by ? sorted(rows, by.value, down) : rows;
  const drawn = columns.filter((c) => c.draw || c.number);
  const texts = new Map(drawn.filter((c) => !c.draw).map((c) => [c, column(list.map((row) => Number(c.value(row) ?? NaN)))]));
  const head = (c) => {
    const order = by !== c ? "none" : down ? "descending" : "ascending";
    const parts = [c.title, by === c && unspoken(down ? " ↓" : " ↑")];
    const sort = () => put({ [key]: by === c && !down ? "-" + c.key : c.key }, true);
    return el("th", { scope: "col", class: c.number ? "number" : c.cls, "aria-sort": c.plain ? null : order },
      c.plain ? c.title : el("button", { type: "button", click: sort }, parts), c.unit && el("small", null, c.unit));
  };
  const cell = (c, row, n) => el("td", { class: c.number ? "number " + (c.faint && c.faint(row) ? "out" : "") : c.cls }, c.draw ? c.draw(row) : texts.get(c)[n]);
  const body = el("tbody"), more = button("", () => fill(body.children.length + PAGE));
  const fill = (to) => {
    const from = body.children.length;
    body.append(...list.slice(from, to).map((row, n) => el("tr", { "data-open": open && open(row) }, drawn.map((c) => cell(c, row, from + n)))));
    more.hidden = body.children.length >= list.length;
    more.textContent = `Show more (${count(list.length - body.children.length)} left)`;
  };
  fill(PAGE);
  return el("div.data", null,
    el("p.tools", null, muted(said || many(list.length, "row")), button("CSV", () => csv(what, columns, list), { "data-csv": what })),
    scroll(caption,
      el("table.documents", null, el("thead", null, el("tr", null, drawn.map(head))), body)), more);
}

// Columns of documents; `doc` gives the number of a row's document.
const documentColumns = (doc, i) => [
  worded("source", "source", (row) => meta.docs.source[doc(row)], { cls: "source" }),
  worded("document", "document", (row) => meta.docs.id[doc(row)], { draw: (row) => documentLink(doc(row), i), cls: "id" }),
  meta.texts !== "none" && worded("text", "text", (row) => meta.docs.snippet[doc(row)],
    { unit: "beginning", draw: (row) => el("span", { dir: "auto" }, show(meta.docs.snippet[doc(row)])), cls: "snippet", plain: true }),
].filter(Boolean);
