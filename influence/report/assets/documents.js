// One document, and the influence of its tokens on the query it was opened for.

import { code, el, facts, heading, legendBar, live, muted, note, show, sign, whole } from "./elements.js";
import { turns } from "./frame.js";
import { labelFile, labelTools } from "./marking.js";
import {
  documentHref,
  evidence,
  exchange,
  hasTokens,
  listed,
  missing,
  queryLink,
  relation,
  stepper,
} from "./queries.js";
import { documentOf, load, meta, ofSource, passes, put, queryOf, state } from "./state.js";
import { numeric, ranked, signColumn, sortable, worded } from "./tables.js";
import { blanks, count, many, number, plain, some } from "./words.js";

const SPIKY = 2 / 3; // share of ‖tokens‖₂ in ‖tokens‖₁ above which a few tokens carry the score
const NUMBERED = 5;

export async function viewDocument(node, turn) {
  const d = meta.docs, doc = documentOf(state.id ?? "");
  if (doc < 0) return missing(node, "document");
  const lists = meta.queries.map((_, i) => i).filter((i) => meta.lists[i].d.includes(doc));
  const i = state.values.has("q") ? queryOf(state.get("q")) : lists[0] ?? -1;
  const own = i < 0 ? null : listed(i, "both").filter((o) => o.doc === doc || ofSource(o.doc)),
    at = own ? own.findIndex((o) => o.doc === doc) : -1,
    pair = own && own[at];
  const text = meta.texts === "none" ? null : ((await load("t-" + d.shard[doc])) || {})[doc];
  const values = pair && meta.tokens && hasTokens(i, doc) ? await load("k-" + i) : null;
  if (turn !== turns) return;
  const to = (o) => o && documentHref(o.doc, i);
  const body = el("div.text.full", { dir: "auto", id: "text" });
  const heated = values && values[doc] && text != null;
  if (!heated) {
    body.append(
      ...(text != null ? show(text, true) : [muted(
        meta.texts === "none" ? "No texts in this report: it was made with texts=none." : show(d.snippet[doc] || ""),
      )]),
    );
  }
  const why = heated
    ? null
    : meta.tokens
    ? pair && `Influence per token is kept for the first ${count(meta.tokens)} documents of a query.`
    : meta.tokens_left_out
    ? "Influence per token was computed, but is left out of this report: the overview says why."
    : "No influence per token in this report: run `influence tokens` on the store, then write the report again.";
  node.replaceChildren(
    ...[
      heading("Document ", whole(d.id[doc], "code")),
      i >= 0 && stepper(to(own[at - 1]), el("span", null, "for ", queryLink(i)), at >= 0 && to(own[at + 1])),
      facts(
        ["source", whole(d.source[doc])],
        ["tokens", count(d.tokens[doc])],
        ["sha256", el("code", null, d.sha[doc])],
        ...(pair
          ? [["normed", sign(pair.s), " ", number(pair.n)], ["dot", number(pair.s), " nats"], [
            "rank normed",
            count(pair.rn),
          ], ["rank dot", count(pair.rd)]]
          : []),
      ),
      !pair && el("p.note.warn", null, "This document is not in the lists of that query."),
      ...(pair ? [...found(i, doc), labelTools(i, doc), labelFile()] : []),
      el(
        "div.reading",
        null,
        i >= 0 && meta.texts !== "none" && el("aside", { "aria-label": "The query" }, exchange(meta.queries[i])),
        heated ? heat(body, text, values, doc, pair.s) : body,
      ),
      why && note(why),
      text != null && d.cut[doc] > 0 && note(`… ${count(d.cut[doc])} more characters not in this report.`),
      el("h3", null, "Other queries that list it"),
      otherQueries(doc, lists.filter((j) => j !== i)),
    ].filter(Boolean),
  );
}

// What analyses say of a document for a query: where an answer stands in it, how it relates.
function found(i, doc) {
  const because = (why) => why && [" — ", muted(show(why))];
  const label_ = relation(i, doc);
  return [
    ...evidence(i, doc).map(([part, method, quoted, why]) =>
      el(
        "p.found",
        null,
        el("span.badge", null, plain(part)),
        ` found by ${plain(method)}: `,
        quoted != null && el("q", { dir: "auto" }, show(quoted)),
        because(why),
      )
    ),
    label_ && el("p.found", null, "Relation: ", el("strong", null, plain(label_[0])), because(label_[1])),
  ];
}

function otherQueries(doc, others) {
  const rows = others.filter((j) => passes(meta.queries[j])).map((j) => ({
    j,
    q: meta.queries[j],
    l: meta.lists[j],
    at: meta.lists[j].d.indexOf(doc),
  }));
  if (!rows.length) {
    return note(others.length ? `None of the ${many(others.length, "other query")} passes the filters.` : "None.");
  }
  const columns = [
    worded("query", "query", (o) => o.q.id, { draw: (o) => queryLink(o.j) }),
    worded("task", "task", (o) => o.q.task),
    ranked("rank_normed", "rank", "normed", (o) => o.l.rn[o.at]),
    ranked("rank_dot", "rank", "dot", (o) => o.l.rd[o.at]),
    numeric("normed", "normed", "dot / ‖G‖₂", (o) => o.l.n[o.at]),
  ];
  const said = some(rows.length, others.length, "query");
  return sortable({
    rows,
    columns,
    what: "queries-of-document",
    caption: "Other queries that list this document",
    prefix: "o",
    said,
  });
}

const level = (value, top) => Math.max(-8, Math.min(8, top > 0 ? Math.round((8 * value) / top) : 0));
const levelClass = (step) => (step < 0 ? "n" + -step : step ? "p" + step : "z");

// Tokens of a document, coloured by their influence: 17 levels of a symmetric scale, the strongest numbered.
function heat(body, text, shard, doc, score) {
  const own = shard[doc], n_tokens = own.len.length, common = state.get("scale") === "query";
  const largest = Math.max(...Object.values(shard).map((tokens) => tokens.max)), top = common ? largest : own.max;
  const characters = Array.from(text), begin = meta.docs.begin[doc];
  const strong = own.top.map(([n]) => n), starts = [0];
  own.len.forEach((length, n) => starts.push(starts[n] + length));
  const piece = (n) => characters.slice(Math.max(0, starts[n] - begin), Math.max(0, starts[n + 1] - begin)).join("");
  const special = (n) => own.len[n] === 0 && (n === 0 ? "start" : "part"); // BOS, or the rest of a split character
  const status = live("[ and ] step through the strongest tokens.", "status");
  const say = (n, order) => {
    const weaker = Math.floor((100 * (n_tokens - 1 - order)) / n_tokens);
    status.textContent = `Token ${n + 1} of ${n_tokens}: ${number(own.top[order][1])} nats, number ${
      order + 1
    } by size; larger than ${weaker} % of the tokens.`;
  };
  let outside = 0;
  own.len.forEach((_, n) => {
    const shown = piece(n),
      order = strong.indexOf(n),
      mark = special(n),
      inside = starts[n] >= begin && starts[n] <= begin + characters.length;
    if (!shown && !(mark && inside)) {
      outside += 1;
      return;
    }
    body.append(el(
      "span",
      {
        class: `tk ${levelClass(level((own.v[n] * own.max) / 127, top))}${mark ? " special" : ""}`,
        "data-n": n,
        "data-special": mark || null,
        tabindex: order >= 0 ? "0" : null,
        focus: order >= 0 && (() => say(n, order)),
      },
      show(shown, true),
      order >= 0 && order < NUMBERED && el("sup", { "data-order": order + 1 }),
    ));
  });
  const ramp = Array.from({ length: 17 }, (_, n) => el("span", { class: levelClass(n - 8) }));
  const differs = Math.abs(own.sum - score) > 1e-3 * Math.abs(score);
  const columns = [
    ranked("order", "no.", "", (o) => o.order + 1),
    ranked("position", "position", "", (o) => o.n + 1),
    worded("token", "token", (o) => piece(o.n), {
      draw: (
        o,
      ) => (special(o.n)
        ? muted(special(o.n) === "start" ? "start of the text" : "part of a character")
        : piece(o.n)
        ? code(blanks(piece(o.n)))
        : muted("(not shown)")),
    }),
    numeric("nats", "influence", "nats", (o) => o.v),
    signColumn((o) => o.v),
  ];
  return el(
    "div.heat",
    null,
    legendBar(
      number(-top),
      el("span.ramp", { "aria-hidden": "true" }, ramp),
      "+" + number(top),
      " nats a token; 0 in the middle",
    ),
    el(
      "p.tools",
      null,
      el(
        "label",
        null,
        el("input", {
          type: "checkbox",
          id: "scale",
          checked: common,
          change: () => put({ scale: common ? null : "query" }),
        }),
        ` One scale for all documents of the query (largest ${number(largest)}; this document ${number(own.max)})`,
      ),
    ),
    body,
    status,
    el(
      "p.note",
      { id: "sum" },
      `Sum of ${many(n_tokens, "token")} = ${number(own.sum)}; document score (dot) = ${number(score)}${
        differs ? ", which differ: the tokens were computed in another precision" : ""
      }.${outside ? ` ${many(outside, "token")} of the text that is left out count too.` : ""}`,
    ),
    note(
      "A token is marked where the computation runs: one before the token that it helps to predict. ",
      own.len.includes(0) &&
        "Chips are tokens without a character of their own: the start of the text, or part of a character. ",
      meta.sign,
    ),
    own.spiky > SPIKY &&
      el(
        "p.note.warn",
        null,
        `A few tokens carry nearly all of this score (‖tokens‖₂ / ‖tokens‖₁ = ${
          own.spiky.toFixed(2)
        }, above 2/3): such a match is often one of form, by chance. Read the passage before you believe it.`,
      ),
    el("h3", null, "Strongest tokens"),
    !own.top.length ? el("p.note", null, "The influence of every token is zero.") : sortable({
      rows: own.top.map(([n, v], order) => ({ n, v, order })),
      columns,
      what: "tokens",
      caption: "Strongest tokens",
      prefix: "k",
      said: many(own.top.length, "token"),
    }),
  );
}
