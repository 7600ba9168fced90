// Words, passages and numbers as they are read.

import { bdi, el } from "./dom.js";
import { wordLink } from "./route.js";

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

/** A whole number with its thousands apart. */
export function number(value) {
  return WHOLE.format(value);
}

/** A measure to two digits. */
export function measure(value) {
  return SHORT.format(value);
}

/** A share of one as percent. */
export function percent(share) {
  return share > 0 && share < 0.01 ? "<1%" : `${Math.round(share * 100)}%`;
}

/** "1 sense", "2 senses". */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** A token as it is, with its blanks made visible. */
export function token(text) {
  return el("code", { class: "token", dir: "auto" }, visible(text));
}

/** A text in which blanks and line ends can be seen. */
export function visible(text) {
  return text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥");
}

/** A link to the senses of a word; a token's blank is no part of it. */
export function toWord(text, attributes = {}) {
  const word = text.startsWith(" ") ? text.slice(1) : text;
  if (!word.trim()) return token(text);
  return el("a", { class: "word", href: wordLink(word), ...attributes }, bdi(word));
}

/** A passage with its word marked. Offsets count characters, as Python does, and not UTF-16 units. */
export function passage({ text, start, end }) {
  const characters = Array.from(text);
  const part = (from, to) => characters.slice(from, to).join("");
  const before = part(0, start);
  const after = part(end);
  return el(
    "blockquote",
    { dir: "auto", class: "passage" },
    /^\P{Lu}/u.test(before || "A") ? "…" : null,
    before,
    el("mark", {}, part(start, end)),
    after,
    /[.!?。؟।]["”’)]?\s*$/u.test(after) ? null : "…",
  );
}
