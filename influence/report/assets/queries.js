// The list of queries, and one query with its documents.

import { safe } from "./address.js";
import { pearson } from "./correlation.js";
import {
  code,
  el,
  facts,
  heading,
  muted,
  name,
  note,
  ofQueries,
  show,
  svgLine,
  svgText,
  toggle,
  unspoken,
  whole,
} from "./elements.js";
import { turns } from "./frame.js";
import { sorted } from "./rows.js";
import { stageTable } from "./stages.js";
import { href, load, meta, ofSource, passes, put, queryOf, rankKey, state, visible } from "./state.js";
import { documentColumns, numeric, ranked, signColumn, sortable, worded } from "./tables.js";
import { clip, count, many, minus, number, plain, signed, some } from "./words.js";

export const SHARED = 50;
const SIDE = 20; // documents of each column side by side

export const queryLink = (i, changes) =>
  el("a", { href: href("q", meta.queries[i].id, changes) }, code(meta.queries[i].id));
const judged = (
  correct,
) => (correct == null
  ? muted("not judged")
  : el("span", null, unspoken(correct ? "✓ " : "✗ "), correct ? "correct" : "wrong"));

export function viewQueries(node) {
  const find = state.get("find"), wanted = find.toLowerCase(), shown = visible();
  const has = (q) =>
    [q.id, q.task, q.prompt || "", q.completion || ""].some((text) => safe(text).toLowerCase().includes(wanted));
  const closest = (i) =>
    shown.map((j) => (i === j ? null : pearson(i, j))).reduce(
      (best, r) => (r != null && (best === null || r > best) ? r : best),
      null,
    );
  const rows = shown.filter((i) => has(meta.queries[i])).map((i) => ({ i, q: meta.queries[i], r: closest(i) }));
  const text = (key, cls, length) =>
    meta.texts !== "none" &&
    worded(key, key, (o) => o.q[key], {
      draw: (o) => el("div.clamp", { dir: "auto" }, show(clip(o.q[key], length))),
      cls,
    });
  const columns = [
    worded("id", "query", (o) => o.q.id, { draw: (o) => queryLink(o.i), cls: "id" }),
    worded("group", "group", (o) => o.q.group),
    worded("task", "task", (o) => o.q.task),
    text("prompt", "snippet", 300),
    text("completion", "some", 200),
    worded("correct", "correct", (o) => (o.q.correct == null ? "" : o.q.correct ? "yes" : "no"), {
      draw: (o) => judged(o.q.correct),
      cls: "nowrap",
    }),
    numeric("nats", "nats", "−log p", (o) => o.q.nats),
    meta.answers && ranked("answer_rank", "answer", "best rank", (o) => o.q.answered),
    numeric("max_r", "max R", "with another", (o) => o.r, { draw: (o) => (o.r == null ? "–" : signed(o.r)) }),
  ].filter(Boolean);
  const input = el("input", {
    id: "find",
    type: "search",
    value: find,
    input: (event) => put({ find: event.target.value }, true),
  });
  node.replaceChildren(
    heading("Queries"),
    el("p.tools", null, el("label", { for: "find" }, "Find "), input),
    rows.length
      ? sortable({
        columns,
        rows,
        what: "queries",
        caption: "Queries",
        open: (o) => href("q", o.q.id),
        said: ofQueries(rows.length),
      })
      : note("No query passes these filters."),
  );
}

// The documents of one end of a query's list, in the order of the ranking.
export function listed(i, end) {
  const { d, rn, rd, n, s, b = [], end: ends } = meta.lists[i], nats = meta.queries[i].nats;
  return d.map((doc, at) => ({
    doc,
    rn: rn[at],
    rd: rd[at],
    n: n[at],
    s: s[at],
    p: nats > 0 ? s[at] / nats : NaN,
    end: ends[at],
    b: b[at],
  }))
    .filter((o) => end === "both" || o.end === 2 || o.end === (end === "top" ? 0 : 1))
    .sort((a, b) => (end === "bottom" ? -1 : 1) * (a[rankKey()] - b[rankKey()]));
}

// Queries with the document among their first 50 in a ranking.
let holders = null;
function holding(doc) {
  if (!holders) {
    holders = meta.docs.id.map(() => []);
    meta.lists.forEach((l, i) =>
      l.d.forEach((d, at) => {
        if (Math.min(l.rn[at], l.rd[at]) <= SHARED) holders[d].push(i);
      })
    );
  }
  return holders[doc];
}

const ofPair = (table, i, doc) => (table && table[i] && table[i][doc]) || null;
export const evidence = (i, doc) => ofPair(meta.hits, i, doc) || [];
export const relation = (i, doc) => ofPair(meta.relations, i, doc);

export function stepper(previous, middle, next) {
  const link = (to, rel, text) => to && el("a", { href: to, rel }, text);
  return el("p.step", null, link(previous, "prev", "← previous"), middle, link(next, "next", "next →"));
}

export async function viewQuery(node, turn) {
  const i = queryOf(state.id);
  if (i < 0) return missing(node, "query");
  const q = meta.queries[i], end = state.get("end") || "top", beside = state.get("beside") === "1";
  const away = meta.stages && state.ckpt !== meta.stages.here;
  const lists = away ? await load("stages") : null;
  if (turn !== turns) return;
  const seen = visible(), at = seen.indexOf(i), to = (j) => j !== undefined && href("q", meta.queries[j].id);
  const text = (title, value) =>
    value != null &&
    el(
      "div",
      null,
      el("dt", null, title),
      el("dd.text", { dir: "auto" }, value ? show(value, true) : muted("(empty)")),
    );
  const tabs = ["top", "bottom", "both"].map((value) =>
    toggle(value[0].toUpperCase() + value.slice(1), end === value && !beside, { end: value, beside: null })
  );
  node.replaceChildren(
    heading(whole(q.id, "code"), " ", muted(whole(q.task), ", ", whole(q.group))),
    stepper(at > 0 && to(seen[at - 1]), el("a", { href: href("q") }, "all queries"), at >= 0 && to(seen[at + 1])),
    ...(at < 0 ? [note("This query does not pass the filters.")] : []),
    el("dl.exchange", null, text("Prompt", q.prompt), text("Completion", q.completion)),
    facts(
      q.answer && ["answer", name(q.answer, "bdi", Infinity)],
      ["correct", judged(q.correct)],
      ["I_q", number(q.nats), " nats"],
      ...q.overlap.map(([k, share]) => [`overlap@${count(k)} of normed and dot`, (100 * share).toFixed(0), " %"]),
      ["Spearman ρ of normed and dot", signed(q.rho)],
    ),
    ...q.notes.map((said) => el("p.note.warn", null, said)),
  );
  if (lists) {
    node.append(
      el("h3", null, "Top 10 at ", name(state.ckpt)),
      stageTable(lists, i, state.ckpt, meta.stages.here),
    );
    return;
  }
  node.append(
    curve(q),
    el(
      "div.tabs",
      { role: "group", "aria-label": "Documents shown" },
      tabs,
      toggle("Side by side", beside, { beside: beside ? null : "1" }),
    ),
    beside ? normedAndDot(i) : documents(i, end),
  );
  if (meta.lists[i].d.length === meta.documents && !beside) {
    node.append(note("The lists hold every document that was scored."));
  }
}

export function documents(i, end) {
  const whole = listed(i, end), rows = whole.filter((o) => ofSource(o.doc));
  const faint = (key) => (o) => o[key] > meta.k && o[key] <= meta.documents - meta.k; // listed for its other rank
  const parts = (o) => [...new Set(evidence(i, o.doc).map(([part]) => part))];
  const others = (o) => holding(o.doc).filter((j) => j !== i && passes(meta.queries[j])).length;
  const columns = [
    ranked("rank_normed", "rank", "normed", (o) => o.rn, { faint: faint("rn") }),
    ranked("rank_dot", "rank", "dot", (o) => o.rd, { faint: faint("rd") }),
    numeric("delta", "Δ", "dot − normed", (o) => o.rd - o.rn, {
      draw: (o) => (o.rd > o.rn ? "+" : "") + count(o.rd - o.rn),
    }),
    numeric("normed", "normed", "dot / ‖G‖₂", (o) => o.n),
    numeric("per_nat", "per nat", "dot / I_q", (o) => o.p),
    numeric("dot", "dot", "nats", (o) => o.s),
    signColumn((o) => o.s),
    ...documentColumns((o) => o.doc, i),
    meta.answers &&
    worded("answer", "answer", (o) => parts(o).join(" "), {
      draw: (o) => parts(o).map((part) => el("span.badge", null, plain(part))),
    }),
    meta.relations &&
    worded("relation", "relation", (o) => (relation(i, o.doc) || [""])[0], {
      draw: (o) => plain((relation(i, o.doc) || ["–"])[0]),
    }),
    meta.bm25 && ranked("rank_bm25", "rank", "BM25", (o) => o.b),
    ranked("also", "also in", "top 50s", others),
  ].filter(Boolean);
  const what = `documents-${plain(meta.queries[i].id)}`.replace(/[^\w.-]+/g, "-");
  const first = (end === "bottom" ? "-" : "") + (state.rank === "norm" ? "rank_normed" : "rank_dot");
  const said = some(rows.length, whole.length, "document");
  return sortable({
    columns,
    rows,
    what,
    caption: "Documents of the query",
    first,
    open: (o) => documentHref(o.doc, i),
    said,
  });
}

export const hasTokens = (i, doc) => meta.lists[i].tok[meta.lists[i].d.indexOf(doc)];
export function documentHref(doc, i) {
  return href("d", meta.docs.id[doc], i == null ? {} : { q: meta.queries[i].id, tok: hasTokens(i, doc) ? 1 : null });
}
export const documentLink = (doc, i) => el("a", { href: documentHref(doc, i) }, code(meta.docs.id[doc]));

// Two ranked lists; lines join what stands in both. An item has `key`, `rank`, `node` and `mark`.
export function sideBySide(titles, lists) {
  const height = 30, rows = Math.max(lists[0].length, lists[1].length);
  const list = (n) =>
    el(
      "div",
      null,
      el("h3", null, titles[n]),
      el(
        "ol.ranks",
        null,
        lists[n].map((item) => el("li", null, el("span", null, count(item.rank)), item.node, item.mark)),
      ),
    );
  const place = new Map(lists[1].map((item, b) => [item.key, b]));
  const pairs = lists[0].map((item, a) => [a, place.get(item.key)]).filter(([, b]) => b !== undefined);
  const y = (n) => (n + 0.5) * height;
  const lines = pairs.map(([a, b]) => svgLine(0, 60, y(a), y(b), ""));
  const svg = el("svg:svg.links", {
    viewBox: `0 0 60 ${rows * height || 1}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  }, lines);
  svg.style.height = rows * height + "px";
  return el(
    "div",
    null,
    note(`${count(pairs.length)} of the first ${many(rows, "document")} stand in both columns; lines join them.`),
    el("div.beside-lists", null, list(0), svg, list(1)),
  );
}

function normedAndDot(i) {
  const depth = Math.min(meta.k, SIDE);
  const list = (key, other, said) =>
    sorted(listed(i, "top").filter((o) => o[key] <= depth && ofSource(o.doc)), (o) => o[key])
      .map((o) => ({
        key: o.doc,
        rank: o[key],
        node: documentLink(o.doc, i),
        mark: muted(`${said} ${count(o[other])}`),
      }));
  return sideBySide(["By normed", "By dot"], [list("rn", "rd", "dot"), list("rd", "rn", "normed")]);
}

// Score against rank of one query, both axes logarithmic.
function curve(q) {
  const points = q.curve.filter(([, y]) => y > 0);
  if (points.length < 2) return note("No score curve: fewer than two of the first documents have a positive score.");
  const W = 420, H = 180, L = 58, R = 396, T = 12, B = 146;
  const [X, Y] = [0, 1].map((n) => points.map((point) => Math.log10(point[n])));
  const scale = (values, from, to) => {
    let a = Math.min(...values), b = Math.max(...values);
    if (b - a < 1e-9) [a, b] = [a - 0.5, b + 0.5];
    const powers = Array.from(
      { length: Math.floor(b + 1e-9) - Math.ceil(a - 1e-9) + 1 },
      (_, n) => Math.ceil(a - 1e-9) + n,
    );
    const ticks = powers.length > 1 ? powers.filter((_, n) => n % Math.ceil(powers.length / 5) === 0) : [a, b];
    return { ticks, at: (v) => from + ((v - a) / (b - a)) * (to - from) };
  };
  const x = scale(X, L, R), y = scale(Y, B, T);
  const said = (
    e,
  ) => (e >= -3 && e <= 5
    ? Number((10 ** e).toPrecision(3)).toLocaleString("en-US")
    : minus((10 ** e).toExponential(0).replace("e+", "e")));
  const fit = q.slope
    ? `Slope of the first ${count(q.slope.n)}: ${minus(q.slope.alpha.toFixed(2))} ± ${q.slope.se.toFixed(2)} (R² ${
      q.slope.r2.toFixed(2)
    }).`
    : "No slope: fewer than three positive scores.";
  const what = meta.by.replace("_", " ");
  return el(
    "figure.curve",
    null,
    el(
      "svg:svg",
      { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${what} score against rank, log-log. ${fit}` },
      x.ticks.map((e) => [svgLine(x.at(e), x.at(e), T, B), svgText(x.at(e), B + 15, "middle", said(e))]),
      y.ticks.map((e) => [svgLine(L, R, y.at(e), y.at(e)), svgText(L - 6, y.at(e) + 4, "end", said(e))]),
      svgText(W - 12, H - 4, "end", "rank"),
      el("svg:polyline", {
        points: X.map((v, n) => `${x.at(v).toFixed(1)},${y.at(Y[n]).toFixed(1)}`).join(" "),
      }),
    ),
    el(
      "figcaption",
      null,
      `${what[0].toUpperCase() + what.slice(1)} score of the documents at rank 1 to ${
        count(points[points.length - 1][0])
      }, log-log; positive scores only. ${fit} Neighbouring ranks are not independent, so ± is a lower bound.`,
    ),
  );
}

export function missing(node, what) {
  node.replaceChildren(
    heading("Not in this report"),
    el("p", null, `There is no ${what} `, code(state.id ?? state.view, 300), " here: it is not in this report."),
    el("p", null, el("a", { href: href("q") }, "All queries")),
  );
}
