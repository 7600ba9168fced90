// What is there before a word is looked up: the dictionary itself.

import { bdi, el } from "./dom.js";
import { count, number } from "./text.js";

const KEYS = {
  next: "the states that predict a token",
  predicted: "the states that predict a token, by what they predict",
  input: "the states of the token itself",
};

/** The front page of a dictionary. */
export function home(dictionary) {
  return el(
    "div",
    { class: "home" },
    el("h1", { tabindex: "-1" }, "What does a model mean by a word?"),
    el(
      "p",
      { class: "lead" },
      "Each sense in this dictionary is a cluster of the hidden states that a language model had while it read text. Look up a word to see its senses in use, what lies near them, and the words it is related to.",
    ),
    el("p", { class: "quiet keys" }, el("kbd", {}, "/"), " searches, ", el("kbd", {}, "↓"), " and ", el("kbd", {}, "Enter"), " choose, ", el("kbd", {}, "Esc"), " leaves."),
    el(
      "section",
      { class: "facts", "aria-label": "About this dictionary" },
      fact(number(dictionary.senses), "senses"),
      fact(number(dictionary.tokens_with_senses), "tokens with senses"),
      fact(number(dictionary.words_with_senses), "words of several tokens"),
      fact(number(dictionary.dim), "dimensions"),
    ),
    el("div", { class: "made" }, el("section", {}, el("h2", {}, "How it was made"), about(dictionary)), dictionary.sources.length ? sources(dictionary) : null),
  );
}

function fact(value, name) {
  return el("p", { class: "fact" }, el("strong", {}, value), " ", el("span", {}, name));
}

function about(dictionary) {
  const rows = [
    ["Dictionary", `${dictionary.name}@${dictionary.version}`],
    ["Also called", dictionary.aliases.map((alias) => `${dictionary.name}@${alias}`).join(", ")],
    ["Teacher", dictionary.teacher],
    ["Senses are made of", KEYS[dictionary.key_policy]],
    ["At most", `${count(dictionary.k, "sense")} a token`],
    ["Relations", dictionary.lexicon],
    ["Published", day(dictionary.published_at)],
    ["Deprecated", dictionary.deprecated_at && `since ${day(dictionary.deprecated_at)}${dictionary.sunset_at ? `, may be gone from ${day(dictionary.sunset_at)} on` : ""}`],
  ];
  return el(
    "dl",
    { class: "about" },
    rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, bdi(value)))),
  );
}

function day(time) {
  return time && new Date(time).toLocaleDateString("en", { dateStyle: "long" });
}

function sources(dictionary) {
  const row = (source) =>
    el("tr", {}, el("th", { scope: "row" }, bdi(source.name)), el("td", { class: "number" }, number(source.relations)), el("td", {}, bdi(source.licence)), el("td", {}, bdi(source.version)));
  return el(
    "section",
    {},
    el("h2", {}, "Where its relations come from"),
    el(
      "div",
      { class: "scroll" },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, ["Source", "Relations", "Licence", "Version"].map((name) => el("th", { scope: "col", class: name === "Relations" ? "number" : null }, name)))),
        el("tbody", {}, dictionary.sources.map(row)),
      ),
    ),
  );
}
