// The order of rows, and CSV.

import { deepStrictEqual, strictEqual } from "node:assert";
import { csvCell, csvText, sorted } from "../../influence/report/assets/rows.js";

Deno.test("a spreadsheet does not run a cell, and numbers stay numbers", () => {
  deepStrictEqual(["=1+1", "+1", "-x", "@a", "\tb"].map(csvCell), ["'=1+1", "'+1", "'-x", "'@a", "'\tb"]);
  deepStrictEqual([-0.5, NaN, null, undefined].map(csvCell), ["-0.5", "", "", ""]);
  strictEqual(csvCell('a "b", c'), '"a ""b"", c"');
  strictEqual(csvCell("=a\nb"), '"\'=a\nb"');
});

Deno.test("CSV has a byte order mark, its keys and CRLF", () => {
  const columns = [{ key: "id", value: (row) => row[0] }, { key: "r", value: (row) => row[1] }];
  strictEqual(csvText(columns, [["q1", 0.25], ["q2", null]]), "\ufeffid,r\r\nq1,0.25\r\nq2,\r\n");
});

Deno.test("what is not defined stands last, whichever way", () => {
  const value = (v) => v;
  deepStrictEqual(sorted([2, null, 1, NaN, 3], value), [1, 2, 3, null, NaN]);
  deepStrictEqual(sorted([2, null, 1, NaN, 3], value, true), [3, 2, 1, null, NaN]);
});
