// Labels as lines of JSON.

import { deepStrictEqual, strictEqual } from "node:assert";
import { LabelSet } from "../../influence/report/assets/labels.js";

Deno.test("labels are read as they were written, hostile ids too", () => {
  const labels = new LabelSet(), other = new LabelSet();
  labels.give("q\n1", '</script>"', "answer");
  labels.give("q2", "d", "own", "a table\nof slopes");
  labels.give("q2", "d", "own", "its own words");
  strictEqual(other.read(labels.lines()), 0);
  deepStrictEqual([...other.all.values()], [...labels.all.values()]);
  strictEqual(other.of("q2", "d").note, "its own words");
  other.give("q2", "d", null);
  strictEqual(other.of("q2", "d"), null);
});

Deno.test("lines that are no label are counted and left out", () => {
  const labels = new LabelSet();
  const good = '{"query":"q","document":"d","label":"wrong"}';
  strictEqual(labels.read(["", "x", "[]", "null", '{"query":1,"document":"d","label":"wrong"}', good].join("\n")), 4);
  deepStrictEqual([...labels.all.values()], [{ query: "q", document: "d", label: "wrong", note: "" }]);
});

Deno.test("the pair of two ids is not the pair of two others", () => {
  const labels = new LabelSet();
  labels.give("a", 'b","c', "answer");
  strictEqual(labels.of('a","b', "c"), null);
});
