// Stages: what comes, goes and climbs in a query's first ten documents between two checkpoints, and along all of them.

import { safe } from "./address.js";
import {
  choose,
  code,
  el,
  label,
  muted,
  name,
  note,
  queryOptions,
  scroll,
  svgLine,
  svgText,
  unseen,
  unspoken,
} from "./elements.js";
import { turns } from "./frame.js";
import { documentLink, queryLink, sideBySide } from "./queries.js";
import { sorted } from "./rows.js";
import { documentOf, load, meta, queryOf, stageOf, state, visible } from "./state.js";
import { ranked, sortable, worded } from "./tables.js";
import { count, many, plain } from "./words.js";

const TOP = 10;

const stageDocument = (lists, d, i) => {
  const doc = documentOf(lists.docs.id[d]);
  return doc < 0 ? code(lists.docs.id[d]) : documentLink(doc, i);
};
const stageColumns = (lists, i) => [
  worded("source", "source", ([d]) => lists.docs.source[d], { cls: "source" }),
  worded("document", "document", ([d]) => lists.docs.id[d], { draw: ([d]) => stageDocument(lists, d, i), cls: "id" }),
];
const rankAt = (lists, stage) => {
  const n = lists.names.indexOf(stage);
  return ([, ranks]) => ranks[n];
};

const stageOfSource = (lists, [d]) => state.source === null || safe(lists.docs.source[d]) === state.source;
const firstTen = (lists, i, rank) =>
  sorted(lists.ranks[i].filter((row) => rank(row) <= TOP && stageOfSource(lists, row)), rank);

// The first ten at a stage, with their ranks at another.
export function stageTable(lists, i, stage, other) {
  const here = rankAt(lists, stage), there = rankAt(lists, other);
  const rows = firstTen(lists, i, here);
  const columns = [
    ranked("rank", "rank", label(stage, 24), here),
    ranked("other", "rank", label(other, 24), there),
    ...stageColumns(lists, i),
  ];
  return sortable({
    rows,
    columns,
    what: "stage",
    caption: "First documents at the checkpoint",
    said: `By ${lists.by}`,
  });
}

export async function viewStages(node, turn) {
  const lists = meta.stages && await load("stages");
  if (turn !== turns || !lists) return;
  const seen = visible();
  if (!seen.length) return node.replaceChildren(note("No query passes these filters."));
  const asked = queryOf(state.get("q")), i = seen.includes(asked) ? asked : seen[0];
  const [a, b] = [["a", lists.names[0]], ["b", state.ckpt ?? lists.names[lists.names.length - 1]]].map(([key, first]) =>
    stageOf(state.get(key)) ?? first
  );
  const names = lists.names.map((stage) => [safe(stage), label(stage, 40)]);
  node.replaceChildren(
    el("h3", null, "First ten documents of ", queryLink(i)),
    el(
      "p.tools",
      null,
      choose("q", "Query", queryOptions(seen), safe(meta.queries[i].id)),
      choose("a", "A", names, safe(a)),
      choose("b", "B", names, safe(b)),
    ),
    sideBySide([["A: ", name(a)], ["B: ", name(b)]], [
      stageList(lists, i, a, b, false),
      stageList(lists, i, b, a, true),
    ]),
    ...bump(lists, i),
  );
}

// Items of `sideBySide`: how far a document climbed (▲) or fell (▼) from the other stage, or that it is new or gone.
function stageList(lists, i, stage, other, later) {
  const here = rankAt(lists, stage), there = rankAt(lists, other);
  return firstTen(lists, i, here).map((row) => {
    const step = there(row) - here(row), away = there(row) > TOP;
    const mark = away
      ? [el("b", null, later ? "new" : "gone"), muted(`, ${later ? "was" : "now"} ${count(there(row))}`)]
      : later &&
        (step
          ? el(
            "b",
            { class: step > 0 ? "up" : "down" },
            unspoken(step > 0 ? "▲" : "▼"),
            unseen(step > 0 ? "up " : "down "),
            count(Math.abs(step)),
          )
          : muted("="));
    return {
      key: row[0],
      rank: here(row),
      node: stageDocument(lists, row[0], i),
      mark: mark && el("span.mark", null, mark),
    };
  });
}

// Ranks along the stages of what stands in the first ten at the first or the last: ten rows, then a logarithmic zone.
function bump(lists, i) {
  const last = lists.names.length - 1, row = 22, L = 190, R = 610, W = 800;
  const rows = sorted(
    lists.ranks[i].filter((own) => (own[1][0] <= TOP || own[1][last] <= TOP) && stageOfSource(lists, own)),
    ([, ranks]) => ranks[last],
  );
  const deepest = Math.max(TOP, ...rows.flatMap(([, ranks]) => ranks)), decades = Math.log10(deepest / TOP);
  const y = (rank) => 34 + (rank <= TOP ? rank - 1 : TOP + 2.5 * Math.log10(rank / TOP)) * row;
  const x = (n) => L + (n / (last || 1)) * (R - L), H = 34 + (TOP + 0.5 + 2.5 * decades) * row + 12;
  const name_ = (d) => label(lists.docs.id[d], 22);
  const lines = rows.map(([d, ranks]) => {
    const kind = ranks[0] > TOP ? "new" : ranks[last] > TOP ? "gone" : "kept";
    return el(
      "svg:g",
      { class: "bump " + kind },
      el("svg:title", null, `${plain(lists.docs.id[d])}: ${ranks.map(count).join(", ")}`),
      el("svg:polyline", { points: ranks.map((rank, n) => `${x(n).toFixed(1)},${y(rank).toFixed(1)}`).join(" ") }),
      ranks.map((rank, n) => el("svg:circle", { cx: x(n), cy: y(rank), r: 3 })),
      [[0, L - 12, "end"], [last, R + 12, "start"]].map(([n, px, anchor]) =>
        ranks[n] <= TOP &&
        svgText(px, y(ranks[n]) + 4, anchor, n ? `${ranks[n]}  ${name_(d)}` : `${name_(d)}  ${ranks[n]}`)
      ),
    );
  });
  const every = Math.ceil(lists.names.length / 8),
    depths = [10, 100, 1000, 10000, 100000, 1000000].filter((depth) => depth <= deepest && depth > TOP);
  const head = lists.names.map((
    stage,
    n,
  ) => [
    svgLine(x(n), x(n), 24, H - 8),
    (n % every === 0 || n === last) &&
    svgText(x(n), 14, "middle", label(stage, Math.max(6, Math.floor(70 / lists.names.length))), "muted"),
  ]);
  const floor = deepest > TOP && svgLine(L, R, y(TOP) + row / 2, y(TOP) + row / 2, "floor");
  const caption =
    `Ranks by ${lists.by} of the documents that stand in the first ten at the first or the last stage: ten rows, and below the line ranks from 11 on a logarithmic scale. Solid: in both; dashed: new; dotted: gone. n = ${
      many(rows.length, "document")
    } of one query. Scores of different checkpoints have different curvature, so compare ranks, not sizes.`;
  const columns = [
    ...stageColumns(lists, i),
    ...lists.names.map((stage, n) => ranked("rank_" + stage, name(stage, "bdi", 24), "rank", ([, ranks]) => ranks[n])),
  ];
  return [
    el("h3", null, "Ranks along the stages"),
    el(
      "figure.bumps",
      null,
      scroll(
        "Ranks along the stages",
        el(
          "svg:svg",
          {
            viewBox: `0 0 ${W} ${H.toFixed(0)}`,
            role: "img",
            "aria-label": `Ranks of ${many(rows.length, "document")} at ${
              many(lists.names.length, "stage")
            }; the table below has them all.`,
          },
          head,
          floor,
          depths.map((depth) => svgText(W - 4, y(depth) + 4, "end", count(depth), "muted")),
          lines,
        ),
      ),
      el("figcaption", null, caption),
    ),
    sortable({ rows, columns, what: "stage-ranks", caption: "Ranks along the stages, in numbers", prefix: "b" }),
  ];
}
