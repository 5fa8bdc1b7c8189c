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
import { labelFile, labelOf } from "./marking.js";
import { sorted } from "./rows.js";
import { stageTable } from "./stages.js";
import {
  documentOf,
  href,
  load,
  meta,
  ofSource,
  passes,
  put,
  queryOf,
  ranking,
  rankKey,
  state,
  visible,
} from "./state.js";
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

export function viewQueries(node, turn) {
  const find = state.get("find"), wanted = find.toLowerCase(), shown = visible();
  const has = (i, q) =>
    wanted === String(i + 1) ||
    [q.id, q.task, q.prompt || "", q.completion || ""].some((text) => safe(text).toLowerCase().includes(wanted));
  const closest = (i) =>
    shown.map((j) => (i === j ? null : pearson(i, j))).reduce(
      (best, r) => (r != null && (best === null || r > best) ? r : best),
      null,
    );
  const rows = shown.filter((i) => has(i, meta.queries[i])).map((i) => ({ i, q: meta.queries[i], r: closest(i) }));
  const text = (key, cls, length) =>
    meta.texts !== "none" &&
    worded(key, key, (o) => o.q[key], {
      draw: (o) => el("div.clamp", { dir: "auto" }, show(clip(o.q[key].replace(/\s+/g, " "), length))),
      cls,
    });
  const strongest = (i) => listed(i, "top").find((o) => ofSource(o.doc));
  const columns = [
    ranked("number", "no.", "", (o) => o.i + 1),
    worded("id", "query", (o) => o.q.id, { draw: (o) => queryLink(o.i), cls: "id" }),
    worded("group", "group", (o) => o.q.group),
    worded("task", "task", (o) => o.q.task),
    worded("strongest", "first document", (o) => meta.docs.id[strongest(o.i)?.doc] ?? "", {
      unit: "by " + ranking(),
      draw: (o) => (strongest(o.i) ? documentLink(strongest(o.i).doc, o.i) : "–"),
      cls: "some",
    }),
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
    el("p.tools", null, el("label", { for: "find" }, "Find in queries and documents "), input),
    rows.length
      ? sortable({
        columns,
        rows,
        what: "queries",
        caption: "Queries",
        open: (o) => href("q", o.q.id),
        said: ofQueries(rows.length),
      })
      : note(find ? "No query holds that, and passes the filters." : "No query passes these filters."),
  );
  if (!wanted) return;
  // Not waited for: the focus goes back to the field at once, so that no key is lost while texts are unpacked.
  findDocuments(wanted).then((found) => turn === turns && node.append(el("h3", null, "Documents"), found));
}

// The documents of the report that hold the words, with the passage around the first place.
async function findDocuments(wanted) {
  const { id, source, snippet, shard } = meta.docs, around = 120;
  const shards = new Map();
  for (const n of new Set(shard)) shards.set(n, (await load("t-" + n)) || {});
  const first = new Map(); // the query that lists a document highest
  visible().forEach((i) =>
    listed(i, "both").forEach((o) => {
      const best = first.get(o.doc);
      if (!best || o[rankKey()] < best.rank) first.set(o.doc, { i, rank: o[rankKey()] });
    })
  );
  const passages = {}, rows = [];
  id.forEach((own, doc) => {
    const text = shards.get(shard[doc])[doc] ?? snippet[doc] ?? "", at = text.toLowerCase().indexOf(wanted);
    const named = safe(own).toLowerCase().includes(wanted) || safe(source[doc]).toLowerCase().includes(wanted);
    if ((at < 0 && !named) || !ofSource(doc) || !first.has(doc)) return;
    const [from, to] = at < 0 ? [0, 0] : [Math.max(0, at - around), at + wanted.length];
    const parts = [(from ? "…" : "") + text.slice(from, at < 0 ? 0 : at), text.slice(Math.max(0, at), to)];
    const end = text.slice(to, to + around);
    passages[doc] = [
      "found",
      ...[...parts, end + (to + around < text.length ? "…" : "")].map((part) => part.replace(/\s+/g, " ")),
    ];
    rows.push({ doc, ...first.get(doc) });
  });
  if (!rows.length) return note("No document of this report holds that, and passes the filters.");
  return sortable({
    columns: [
      ...documentColumns((o) => o.doc, null, passages, "around what was found"),
      worded("query", "listed highest for", (o) => meta.queries[o.i].id, { draw: (o) => queryLink(o.i) }),
      ranked("rank", "rank", ranking(), (o) => o.rank),
    ],
    rows: sorted(rows, (o) => o.rank),
    what: "documents-found",
    caption: "Documents found",
    prefix: "d-",
    said: some(rows.length, id.length, "document"),
    open: (o) => documentHref(o.doc, o.i),
  });
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

export function exchange(q) {
  const text = (title, value) =>
    value != null &&
    el(
      "div",
      null,
      el("dt", null, title),
      el("dd.text", { dir: "auto" }, value ? show(value, true) : muted("(empty)")),
    );
  return el("dl.exchange", null, text("Prompt", q.prompt), text("Completion", q.completion));
}

export async function viewQuery(node, turn) {
  const i = queryOf(state.id);
  if (i < 0) return missing(node, "query");
  const q = meta.queries[i], end = state.get("end") || "top", beside = state.get("beside") === "1";
  const away = meta.stages && state.ckpt !== meta.stages.here;
  const lists = away ? await load("stages") : null, passages = await load("p-" + i);
  const against = meta.versus.length && state.get("against") ? (await load("versus"))[state.get("against") - 1] : null;
  if (turn !== turns) return;
  const seen = visible(), at = seen.indexOf(i), to = (j) => j !== undefined && href("q", meta.queries[j].id);
  const tabs = ["top", "bottom", "both"].map((value) =>
    toggle(value[0].toUpperCase() + value.slice(1), end === value && !beside && !against, {
      end: value,
      beside: null,
      against: null,
    })
  );
  node.replaceChildren(
    heading(whole(q.id, "code"), " ", muted(whole(q.task), ", ", whole(q.group))),
    stepper(at > 0 && to(seen[at - 1]), el("a", { href: href("q") }, "all queries"), at >= 0 && to(seen[at + 1])),
    ...(at < 0 ? [note("This query does not pass the filters.")] : []),
    exchange(q),
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
    el(
      "div.tabs",
      { role: "group", "aria-label": "Documents shown" },
      tabs,
      toggle("Side by side", beside, { beside: beside ? null : "1", against: null }),
      meta.versus.map((other, n) =>
        toggle(["Against ", name(other, "bdi", 40)], against !== null && state.get("against") === String(n + 1), {
          against: state.get("against") === String(n + 1) ? null : n + 1,
          beside: null,
        })
      ),
    ),
    against ? versusTable(against, i) : beside ? normedAndDot(i) : documents(i, end, passages),
    labelFile(),
    curve(q),
  );
  if (meta.lists[i].d.length === meta.documents && !beside) {
    node.append(note("The lists hold every document that was scored."));
  }
}

function documents(i, end, passages) {
  const byDot = state.rank === "dot", whole = listed(i, end), rows = whole.filter((o) => ofSource(o.doc));
  const faint = (key) => (o) => o[key] > meta.k && o[key] <= meta.documents - meta.k; // listed for its other rank
  const parts = (o) => [...new Set(evidence(i, o.doc).map(([part]) => part))];
  const others = (o) => holding(o.doc).filter((j) => j !== i && passes(meta.queries[j])).length;
  const columns = [
    ranked("rank_normed", "rank", "normed", (o) => o.rn, { faint: faint("rn"), extra: byDot }),
    ranked("rank_dot", "rank", "dot", (o) => o.rd, { faint: faint("rd"), extra: !byDot }),
    numeric("delta", "Δ", "dot − normed", (o) => o.rd - o.rn, {
      draw: (o) => (o.rd > o.rn ? "+" : "") + count(o.rd - o.rn),
      extra: true,
    }),
    numeric("normed", "normed", "dot / ‖G‖₂", (o) => o.n, { extra: byDot }),
    numeric("per_nat", "per nat", "dot / I_q", (o) => o.p, { extra: true }),
    numeric("dot", "dot", "nats", (o) => o.s, { extra: !byDot }),
    signColumn((o) => o.s),
    ...documentColumns((o) => o.doc, i, passages),
    worded("label", "label", (o) => labelOf(i, o.doc)?.label ?? "", {
      draw: (o) => (labelOf(i, o.doc) ? el("span.badge", null, plain(labelOf(i, o.doc).label)) : ""),
      extra: !whole.some((o) => labelOf(i, o.doc)),
    }),
    meta.answers &&
    worded("answer", "answer", (o) => parts(o).join(" "), {
      draw: (o) => parts(o).map((part) => el("span.badge", null, plain(part))),
    }),
    meta.relations &&
    worded("relation", "relation", (o) => (relation(i, o.doc) || [""])[0], {
      draw: (o) => plain((relation(i, o.doc) || ["–"])[0]),
    }),
    meta.bm25 && ranked("rank_bm25", "rank", "BM25", (o) => o.b),
    ranked("also", "also in", "top 50s", others, { extra: true }),
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

// The first documents of this ranking and of another: what moved up, what came in, what fell out, with passages.
function versusTable(other, i) {
  const top = 10,
    rows = other.rows[i].map(([id, source, here, there, passage], n) => ({ id, source, here, there, passage, n }));
  const inTop = (rank) => rank != null && rank <= top;
  const change = (o) => (inTop(o.here) && inTop(o.there) ? o.there - o.here : inTop(o.here) ? Infinity : -Infinity);
  const words = (o) => {
    const by = change(o),
      was = o.there == null ? "" : ` ${count(o.there)}`,
      now = o.here == null ? "" : ` ${count(o.here)}`;
    if (by === Infinity) return "came in" + (was && ", from" + was);
    if (by === -Infinity) return "fell out" + (now && ", to" + now);
    return by > 0 ? `▲ up ${by}` : by < 0 ? `▼ down ${-by}` : "= same";
  };
  const link = (o) => (documentOf(o.id) < 0 ? code(o.id) : documentLink(documentOf(o.id), i));
  const shown = rows.filter((o) => state.source === null || safe(o.source) === state.source);
  const held = shown.filter((o) => inTop(o.here) && inTop(o.there)).length;
  return el(
    "div",
    null,
    note(
      `The first ${top} here by ${meta.by.replace("_", " ")} and the first ${top} of `,
      name(other.name),
      `: ${many(held, "document")} in both, ${count(shown.filter((o) => change(o) === Infinity).length)} came in, `,
      `${count(shown.filter((o) => change(o) === -Infinity).length)} fell out.`,
    ),
    shown.length
      ? sortable({
        rows: shown,
        columns: [
          ranked("here", "rank", "here", (o) => o.here),
          ranked("there", "rank", plain(other.name), (o) => o.there),
          worded("change", "change", (o) => change(o), { draw: words, cls: "nowrap" }),
          worded("source", "source", (o) => o.source, { cls: "source" }),
          worded("document", "document", (o) => o.id, { draw: link, cls: "id" }),
          ...documentColumns((o) => o.n, i, shown.length && rows.map((o) => o.passage)).slice(2),
        ],
        what: "against",
        caption: "Documents of two rankings",
        first: "here",
        prefix: "v-",
      })
      : note("This query has no other ranking, or none of its documents passes the filters."),
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
