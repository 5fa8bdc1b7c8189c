// Rows of tables: their order, and CSV that spreadsheets read and do not run.

export function csvCell(value) {
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  const text = value == null || typeof value === "number" ? "" : String(value);
  const guarded = /^[=+\-@\t\r]/.test(text) ? "'" + text : text; // a spreadsheet would run it
  return /[",\r\n]/.test(guarded) ? `"${guarded.replace(/"/g, '""')}"` : guarded;
}

// A table as CSV: a byte order mark, CRLF, and the keys of its columns as first line.
export function csvText(columns, rows) {
  const lines = [columns.map((c) => c.key), ...rows.map((row) => columns.map((c) => c.value(row)))];
  return "\ufeff" + lines.map((line) => line.map(csvCell).join(",") + "\r\n").join("");
}

export function sorted(rows, value, down) {
  const rank = (v) => (v == null || Number.isNaN(v) ? null : v); // what is not defined stands last
  return rows.slice().sort((a, b) => {
    const x = rank(value(a)), y = rank(value(b));
    return x === null || y === null ? (x === null) - (y === null) : (down ? -1 : 1) * (x < y ? -1 : x > y ? 1 : 0);
  });
}
