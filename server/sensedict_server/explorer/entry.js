// The head of an entry, and what is said in place of one: it is on its way, it is not there, something is wrong.

import { ask, of } from "./api.js";
import { bdi, el } from "./dom.js";
import { here, link, VIEWS } from "./route.js";
import { count, toWord, token } from "./text.js";

const NAMES = { senses: "Senses", relations: "Relations", map: "Map", compare: "Compare" };
const FOUND = {
  case: "found under another case",
  form: "found through an inflected form that a source lists",
  lemma: "found through its lemma",
};

/** The word, what it is made of, and the ways to look at it. `found` is the answer of `senses?word=`. */
export function head(found, asked) {
  return el(
    "header",
    { class: "entry-head" },
    el("h1", { tabindex: "-1", class: "headword" }, bdi(found.word)),
    el("p", { class: "made-of" }, ...parts(found)),
    found.matched === "exact" || found.word === asked
      ? null
      : el("p", { class: "notice" }, "You asked for ", bdi(asked, { class: "quoted" }), `: this is ${FOUND[found.matched] ?? "what was found"}.`),
    el(
      "nav",
      { class: "views", "aria-label": "Views of the word" },
      VIEWS.map((view) =>
        el(
          "a",
          { href: link({ view }), "aria-current": here().view === view ? "page" : null },
          NAMES[view],
          view === "senses" ? el("span", { class: "badge" }, String(found.senses.length)) : null,
        ),
      ),
    ),
  );
}

function parts(found) {
  const made = found.composed ? "composed of " : found.tokens.length > 1 ? "tokens " : "token ";
  const said = found.pos.length ? [el("span", { class: "pos" }, found.pos.join(", ")), el("span", { class: "dot", "aria-hidden": "true" }, " · ")] : [];
  return [...said, made, found.token_texts.map((text) => [token(text), " "])];
}

/** What stands there while an answer is on its way. */
export function loading(what) {
  const line = (width) => el("span", { class: `bone ${width}` });
  return el("div", { class: "loading", role: "status" }, el("span", { class: "hidden" }, `Loading ${what}`), line("long"), line("longer"), line("short"));
}

/** What stands where there is nothing. */
export function nothing(title, ...told) {
  return el("div", { class: "nothing" }, el("h2", {}, title), told.map((part) => el("p", {}, part)));
}

/** What went wrong, and what to do; `again` tries once more. */
export function failed(problem, again) {
  const title = {
    0: "The service cannot be reached",
    401: "This needs a key",
    403: "This key may not read that",
    404: "That is not there",
    429: "Too many questions at once",
    503: "The service is busy",
  }[problem.status];
  const wait = problem.retryAfter ? ` Try again in ${count(problem.retryAfter, "second")}.` : "";
  return el(
    "div",
    { class: "nothing failed", role: "alert" },
    el("h2", {}, title ?? "That went wrong"),
    el("p", {}, problem.message + wait),
    el("button", { type: "button", class: "main", onclick: again }, "Try again"),
  );
}

/** A word that is not there, and words that begin like it. */
export function unknown(word, dictionary, signal) {
  const near = el("p", { class: "near-words" });
  const title = el("h1", { tabindex: "-1", class: "headword" }, bdi(word));
  similar(word, dictionary, signal).then((found) => {
    if (found.length) near.append("Words that begin like it: ", ...found.flatMap((other) => [toWord(other.word), " "]));
  }, () => null); // an offer, no answer: without it the page is whole
  return el(
    "div",
    {},
    title,
    el(
      "div",
      { class: "nothing" },
      el("h2", {}, "No entry"),
      el("p", {}, bdi(dictionary), " knows it neither as a single token nor from a relation, and it is no form of a word that it knows."),
      near,
    ),
  );
}

async function similar(word, dictionary, signal) {
  const letters = Array.from(word);
  for (const length of new Set([letters.length - 1, Math.ceil(letters.length / 2), 2])) {
    if (length < 1) continue;
    const { words } = await ask(of(dictionary, "words"), { prefix: letters.slice(0, length).join(""), limit: 8 }, signal);
    if (words.length) return words;
  }
  return [];
}
