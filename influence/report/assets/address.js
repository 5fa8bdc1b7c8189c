// The address of a view: #/view/id?key=value.

export const safe = (text) => text.replace(/\p{Cs}/gu, "\ufffd"); // lone surrogates have no place in an address
export const encode = (text) => encodeURIComponent(safe(text));
export function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function readAddress(hash) {
  const [path, ...tail] = (hash.startsWith("#/") ? hash.slice(2) : "").split("?");
  const [view, ...id] = path.split("/");
  return {
    view: view || "overview",
    id: id.length ? decode(id.join("/")) : null,
    values: new URLSearchParams(tail.join("?")),
  };
}

// The address of a view with these values after `changes`, of which null and "" take one away.
export function writeAddress(view, id, values, changes) {
  for (const [key, value] of Object.entries(changes || {})) {
    value == null || value === "" ? values.delete(key) : values.set(key, safe(String(value)));
  }
  const tail = values.toString();
  return `#/${view === "overview" ? "" : view}${id == null ? "" : "/" + encode(id)}${tail ? "?" + tail : ""}`;
}
