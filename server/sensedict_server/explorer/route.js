// Where the reader is, kept in the address after `#`: links can be shared, Back works, and the word stays off the server's log of pages.

export const VIEWS = ["senses", "relations", "map", "compare"];

/** The place that the address names; `dictionary` and `other` are "" where it does not say. */
export function here() {
  const given = new URLSearchParams(location.hash.slice(1));
  const view = given.get("v");
  return {
    word: given.get("w") ?? "",
    dictionary: given.get("d") ?? "",
    view: VIEWS.includes(view) ? view : VIEWS[0],
    other: given.get("b") ?? "",
  };
}

/** The address of a place: this one, with changes. */
export function link(changes) {
  const { word, dictionary, view, other } = { ...here(), ...changes };
  const named = new URLSearchParams();
  if (word) named.set("w", word);
  if (dictionary) named.set("d", dictionary);
  if (word && view !== VIEWS[0]) named.set("v", view);
  if (other) named.set("b", other);
  return `#${named}`;
}

/** The address of a word in this dictionary. */
export function wordLink(word) {
  return link({ word, view: here().view === "compare" ? "compare" : VIEWS[0] });
}

/** Go there. */
export function go(changes) {
  location.hash = link(changes);
}
