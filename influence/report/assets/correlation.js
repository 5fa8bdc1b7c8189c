// The grid of correlations: Pearson R of each pair of queries, and the documents that a pair shares.

import { document } from "./browser.js";
import { encode } from "./address.js";
import {
  $,
  button,
  choose,
  el,
  label,
  legendBar,
  live,
  name,
  note,
  ofQueries,
  queryOptions,
  unseen,
} from "./elements.js";
import { queryLink, SHARED } from "./queries.js";
import { sorted } from "./rows.js";
import { keep, meta, ofSource, queryOf, ranking, rankKey, state, visible } from "./state.js";
import { csv, documentColumns, ranked, sortable } from "./tables.js";
import { count, many, number, signed } from "./words.js";

const GRID = 120; // most queries of a grid
const NAMED = 28; // most with a name to each row

// R of two queries, from the upper triangle in ten-thousandths.
export function pearson(i, j, part = "all") {
  const matrix = meta.r[state.rank][part];
  const [a, b] = i < j ? [i, j] : [j, i], n = meta.queries.length;
  const value = matrix && matrix[a * n - (a * (a - 1)) / 2 + b - a];
  return value == null ? null : value / 10000;
}

const PARTS = [["all", "all scores"], ["positive", "positive scores only"], ["negative", "negative scores only"]];
const orders = () => [["task", "group and task"], ...(meta.cluster ? [["cluster", "likeness (clustered)"]] : []), [
  "query",
  "R with one query",
]];

// Which scores count, and which queries in which order.
function chosen() {
  const known = (
    key,
    options,
  ) => (options.some(([value]) => value === state.get(key)) ? state.get(key) : options[0][0]);
  const part = known("part", PARTS), order = known("order", orders()), seen = visible(), by = queryOf(state.get("by"));
  const list = order === "cluster"
    ? meta.cluster.filter((i) => seen.includes(i))
    : order === "query" && by >= 0
    ? sorted(seen, (i) => (i === by ? 2 : pearson(by, i, part)), true)
    : seen;
  const [a, b] = state.get("cell").split("~").map((id) => list.findIndex((i) => encode(meta.queries[i].id) === id));
  return { part, order, seen, list, a, b };
}

export function viewCorrelation(node) {
  const { part, order, seen, list, a, b } = chosen();
  const tools = el(
    "p.tools",
    null,
    choose("part", "R of", PARTS, part),
    choose("order", "Order by", orders(), order),
    order === "query" && choose("by", "Query", [["", "choose"], ...queryOptions(seen)], state.get("by")),
  );
  const why = meta.queries.length < 2
    ? "There is one query, so there is no pair to correlate."
    : list.length < 2
    ? "These filters leave fewer than two queries: no pair to correlate."
    : list.length > GRID
    ? `${
      count(list.length)
    } queries are more than this grid shows (${GRID}). Choose groups above; the means of tasks below cover them all.`
    : null;
  node.replaceChildren(tools, ...(why ? [note(why)] : grid(list, part)));
  if (!why && a >= 0 && b >= 0 && a !== b) panel(list[a], list[b], part);
}

// Where a run of queries begins: a line between tasks, a thick one between groups.
function edge(list, a) {
  if (!a) return "";
  const [before, here] = [meta.queries[list[a - 1]], meta.queries[list[a]]];
  return before.group !== here.group ? " new-group" : before.task !== here.task ? " new-task" : "";
}

function rowHead(list, a) {
  const q = meta.queries[list[a]], own = ["reasoning", "factual", "control"].includes(q.group) ? q.group : "other";
  const first = !a || q.label !== meta.queries[list[a - 1]].label;
  return el(
    "th",
    { scope: "row", class: "g-" + own },
    list.length <= NAMED
      ? name(q.id, "bdi", 24)
      : [unseen(label(q.id, 60)), first && el("span.run", { "aria-hidden": "true" }, label(q.label, 40))],
  );
}

export function grid(list, part) {
  const n = list.length,
    ids = list.map((i) => label(meta.queries[i].id, 60)),
    edges = list.map((_, a) => edge(list, a));
  const said = live("Arrow keys move, Enter lists the documents that two queries share.");
  const cell = (i, a, j, b) => {
    const r = i === j ? null : pearson(i, j, part);
    const kind = i === j ? "same" : r == null ? "none" : r >= 0 ? "pos" : "neg";
    const words = i === j ? "the same query" : r == null ? "R not defined" : "R " + signed(r);
    const td = el("td", {
      role: "gridcell",
      tabindex: a || b ? "-1" : "0",
      "data-a": a,
      "data-b": b,
      class: kind + edges[b],
      "aria-label": `${ids[a]} × ${ids[b]}, ${words}`,
      "aria-disabled": i === j ? "true" : null,
    });
    if (r != null) td.style.setProperty("--r", Math.abs(r).toFixed(3));
    return td;
  };
  const rows = list.map((i, a) =>
    el("tr", { class: edges[a].trim() || null }, rowHead(list, a), list.map((j, b) => cell(i, a, j, b)))
  );
  const place = (td) => [Number(td.dataset.a), Number(td.dataset.b)];
  const open = (td) => {
    const [i, j] = place(td).map((at) => list[at]);
    if (i === j) return;
    keep({ cell: encode(meta.queries[i].id) + "~" + encode(meta.queries[j].id) });
    panel(i, j, part);
    $("panel").focus();
  };
  const tell = (event) => {
    if (event.target.matches("td")) said.textContent = event.target.getAttribute("aria-label");
  };
  const key = (event) => {
    if (!event.target.matches("td") || event.altKey || event.metaKey) return;
    const [a, b] = place(event.target), far = event.ctrlKey ? n : 0;
    const to = {
      ArrowRight: [a, b + 1],
      ArrowLeft: [a, b - 1],
      ArrowDown: [a + 1, b],
      ArrowUp: [a - 1, b],
      Home: [far ? 0 : a, 0],
      End: [far ? n : a, n],
      PageDown: [a + 10, b],
      PageUp: [a - 10, b],
    }[event.key];
    if (to) focusCell(...to.map((at) => Math.max(0, Math.min(n - 1, at))));
    else if (event.key === "Enter" || event.key === " ") open(event.target);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const click = (event) => {
    if (event.target.matches("td")) {
      focusCell(...place(event.target));
      open(event.target);
    }
  };
  const table = el("table", {
    role: "grid",
    class: n <= NAMED ? "grid named" : "grid",
    id: "grid",
    click,
    focusin: tell,
    mouseover: tell,
    keydown: key,
    "aria-label": `Pearson R of ${ranking()} scores, ${n} by ${n} queries`,
  }, el("tbody", null, rows));
  table.style.setProperty("--n", n);
  const bar = legendBar(
    "−1",
    el("span.ramp.r", { "aria-hidden": "true" }),
    "+1",
    `Pearson R over all ${many(meta.documents, "document")}; ${ofQueries(n)}; the scale is fixed, the diagonal hatched`,
  );
  const pairs = list.flatMap((i, a) => list.slice(a + 1).map((j) => [i, j]));
  const columns = [
    { key: "a", value: ([i]) => meta.queries[i].id },
    { key: "b", value: ([, j]) => meta.queries[j].id },
    { key: "r", value: ([i, j]) => pearson(i, j, part) },
  ];
  return [
    el(
      "div.grid-figure",
      null,
      el("div.scroll", { role: "region", "aria-label": "Correlation grid" }, table),
      bar,
      said,
    ),
    el(
      "p.tools",
      null,
      button(`CSV of ${many(pairs.length, "pair")}`, () => csv("correlation-shown", columns, pairs), {
        "data-csv": "correlation-shown",
      }),
    ),
    el("div", {
      id: "panel",
      tabindex: "-1",
      role: "region",
      "aria-label": "Documents that two queries share",
      hidden: true,
    }),
  ];
}

function focusCell(a, b) {
  const old = document.querySelector('#grid td[tabindex="0"]'),
    now = document.querySelector(`#grid td[data-a="${a}"][data-b="${b}"]`);
  if (!now) return;
  old.tabIndex = -1;
  now.tabIndex = 0;
  now.focus();
}

function panel(i, j, part) {
  const k = Math.min(SHARED, meta.k, meta.documents), key = rankKey();
  const top = (at) =>
    new Map(meta.lists[at].d.map((doc, n) => [doc, meta.lists[at][key][n]]).filter(([, rank]) => rank <= k));
  const [a, b] = [top(i), top(j)], r = pearson(i, j, part);
  const shared = sorted([...a.keys()].filter((doc) => b.has(doc)), (doc) => Math.max(a.get(doc), b.get(doc)));
  const rows = shared.filter(ofSource), union = a.size + b.size - shared.length;
  const columns = [
    ranked("rank_a", "rank", "first query", (doc) => a.get(doc)),
    ranked("rank_b", "rank", "second query", (doc) => b.get(doc)),
    ...documentColumns((doc) => doc, i),
  ];
  $("panel").hidden = false;
  $("panel").replaceChildren(
    el("h3", null, queryLink(i), " × ", queryLink(j)),
    el(
      "p",
      null,
      el("strong", null, r == null ? "R is not defined" : "R " + signed(r)),
      ` over ${many(meta.documents, "document")}. They share ${count(shared.length)} of their top ${
        count(k)
      } by ${ranking()} (Jaccard ${union ? (shared.length / union).toFixed(2) : "0"}); by chance one would expect ${
        number((k * k) / meta.documents)
      }.`,
    ),
    rows.length
      ? sortable({
        rows,
        columns,
        what: "shared-documents",
        caption: "Shared documents",
        prefix: "s",
        said: `${count(rows.length)} of ${many(shared.length, "document")}`,
      })
      : note(shared.length ? "None of them is of this source." : `No document stands in the top ${count(k)} of both.`),
    button("Close", closePanel),
  );
}

// Close the list of shared documents and go back to its cell; whether it was open.
export function closePanel() {
  if (!$("panel") || $("panel").hidden) return false;
  const { a, b } = chosen();
  $("panel").hidden = true;
  $("panel").replaceChildren();
  keep({ cell: null });
  focusCell(a, b);
  return true;
}
