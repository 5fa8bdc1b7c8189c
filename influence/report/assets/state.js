// Data of the page, and its state, which lives in the hash: #/view/id?key=value.

import { history } from "./browser.js";
import { decode, readAddress, safe, writeAddress } from "./address.js";
import { $ } from "./elements.js";
import { render } from "./frame.js";

export let meta, state;
const blocks = new Map();

// A block of data: base64 of gzip of JSON in <script type="text/plain">.
export async function load(key) {
  if (!blocks.has(key)) {
    if (!$("d-" + key)) return null;
    const bytes = Uint8Array.from(atob($("d-" + key).textContent.trim()), (c) => c.charCodeAt(0));
    blocks.set(
      key,
      JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text()),
    );
  }
  return blocks.get(key);
}

// What every view keeps: the ranking, the filters, the checkpoint.
const KEPT = ["rank", "group", "ok", "source", "ckpt"];
const FILTERS = ["group", "ok", "source"];

export const queryOf = (id) => (id == null ? -1 : meta.queries.findIndex((query) => safe(query.id) === safe(id)));
export const stageOf = (text) => meta.stages.names.find((own) => safe(own) === safe(text));
export const documentOf = (id) => meta.docs.id.findIndex((own) => safe(own) === safe(id));

function parse() {
  const { view, id, values } = readAddress(location.hash);
  const get = (key) => values.get(key) || "";
  return {
    view,
    id,
    values,
    get,
    rank: ["dot", "norm"].includes(get("rank")) ? get("rank") : meta.by === "normed" ? "norm" : "dot",
    group: get("group").split("|").filter(Boolean).map(decode),
    ok: get("ok"),
    source: values.get("source"),
    filtered: FILTERS.some((key) => values.has(key)),
    ckpt: meta.stages ? stageOf(get("ckpt")) ?? meta.stages.here : null,
  };
}

export function href(view, id, changes) {
  const values = new URLSearchParams(
    KEPT.filter((key) => state.values.has(key)).map((key) => [key, state.values.get(key)]),
  );
  return writeAddress(view, id, values, changes);
}

export const same = (changes) => href(state.view, state.id, { ...Object.fromEntries(state.values), ...changes });

export function put(changes, quietly) {
  const target = same(changes);
  if (target !== location.hash) history[quietly ? "replaceState" : "pushState"](null, "", target);
  render();
}

// Read the data of the page and its address; `read` reads the address alone.
export async function open() {
  meta = await load("meta");
  read();
}
export function read() {
  state = parse();
}

// Change the address without drawing the view anew.
export function keep(changes) {
  history.replaceState(null, "", same(changes));
  state = parse();
}

// Filters: of queries by group or task and by how they were answered, of documents by source.
export const groupsOf = (query) => [query.group, query.task, query.label];
export const passes = (query) =>
  (!state.group.length || groupsOf(query).some((own) => state.group.includes(safe(own)))) &&
  (state.ok === "right" ? query.correct === true : state.ok === "wrong" ? query.correct === false : true);
export const visible = () => meta.queries.map((_, i) => i).filter((i) => passes(meta.queries[i]));
export const ofSource = (doc) => state.source === null || safe(meta.docs.source[doc]) === state.source;

export const rankKey = () => (state.rank === "norm" ? "rn" : "rd");
export const ranking = () => (state.rank === "norm" ? "normed" : "dot");
