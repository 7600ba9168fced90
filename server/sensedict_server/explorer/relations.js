// The relations of a word by type, each with its provenance.

import { ask, of } from "./api.js";
import { bdi, el } from "./dom.js";
import { loading, nothing } from "./entry.js";
import { explanation } from "./explain.js";
import { number, toWord } from "./text.js";

const PAGE = 1000;
const FIRST = 24; // of a group, before its reader asks for all
const ORDER = ["synonym", "antonym", "negation", "reversal", "hypernym out", "hypernym in", "holonym out", "holonym in"];
const TITLES = {
  synonym: "Synonyms",
  antonym: "Antonyms",
  negation: "Negations",
  reversal: "Reversals",
  related: "Related",
  "hypernym out": "Wider terms",
  "hypernym in": "Narrower terms",
  "holonym out": "Is part of",
  "holonym in": "Has parts",
};

/** Show the relations, the first page of them at once. */
export async function relations(panel, { dictionary, found, signal }) {
  panel.replaceChildren(loading("relations"));
  const state = { all: [], next: null, filter: "", open: new Set(), dictionary, signal };
  const list = el("div", {});
  const more = el("p", { class: "more" });
  const filter = el("input", {
    type: "search",
    id: "filter",
    dir: "auto",
    placeholder: "Filter by word or source",
    "aria-label": "Filter the relations by word or source",
    oninput: () => {
      state.filter = filter.value.trim().toLowerCase();
      draw(list, state);
    },
  });
  const next = async () => {
    const given = { word: found.word, limit: PAGE };
    if (state.next) given.cursor = state.next;
    const page = await ask(of(dictionary, "relations"), given, signal);
    state.all.push(...page.relations);
    state.next = page.next_cursor;
    more.replaceChildren(
      ...(state.next ? [`The first ${number(state.all.length)} are shown. `, el("button", { type: "button", class: "plain", onclick: next }, "Load more")] : []),
    );
    draw(list, state);
  };
  await next();
  if (!state.all.length) {
    panel.replaceChildren(nothing("No relations", "No source of this dictionary relates the word to another."));
    return;
  }
  panel.replaceChildren(el("div", { class: "relations" }, el("p", { class: "filter" }, filter), list, more));
}

function draw(list, state) {
  const wanted = state.all.filter((relation) => fits(relation, state.filter));
  const groups = [...Map.groupBy(wanted, kind)].sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b));
  list.replaceChildren(
    ...(groups.length ? groups.map(([name, of]) => group(name, of, state)) : [nothing("Nothing fits", "No relation has that word or source: shorten the filter.")]),
  );
}

function fits({ other, source, rule, via }, text) {
  return !text || [other, source, rule ?? "", via?.name ?? ""].some((part) => part.toLowerCase().includes(text));
}

function kind({ type, direction }) {
  return direction === "both" ? type : `${type} ${direction}`;
}

function rank(name) {
  const place = ORDER.indexOf(name);
  return place < 0 ? ORDER.length : place;
}

function group(name, found, state) {
  // A pair that several sources list is one entry with several origins.
  const words = [...Map.groupBy(found, ({ other }) => other)];
  const shown = state.open.has(name) || state.filter ? words : words.slice(0, FIRST);
  return el(
    "section",
    { class: "group", "data-type": name.split(" ")[0] },
    el("h2", {}, TITLES[name] ?? name.replace(/ out$/, " →").replace(/ in$/, " ←"), el("span", { class: "badge" }, number(words.length))),
    el("ul", { class: "pairs" }, shown.map(([other, origins]) => pair(other, origins, state))),
    shown.length < words.length
      ? el(
          "button",
          {
            type: "button",
            class: "plain",
            onclick: (event) => {
              state.open.add(name);
              event.target.closest("section").replaceWith(group(name, found, state));
            },
          },
          `Show all ${number(words.length)}`,
        )
      : null,
  );
}

function pair(other, origins, state) {
  const sources = [...new Set(origins.map(({ source }) => source))];
  const derived = origins.every(({ rule }) => rule);
  const details = el("div", { class: "origins", hidden: true });
  const toggle = () => {
    details.hidden = !details.hidden;
    button.setAttribute("aria-expanded", String(!details.hidden));
    if (!details.hidden && !details.children.length) {
      details.append(...origins.map((relation) => explanation(relation, state.dictionary, state.signal)));
    }
  };
  const button = el(
    "button",
    { type: "button", class: "origin", "aria-expanded": "false", "aria-label": `Where ${other} comes from: ${sources.join(", ")}`, onclick: toggle },
    bdi(sources.join(", ")),
    derived ? el("span", { class: "tag" }, "derived") : null,
    origins.some(({ conflict }) => conflict) ? el("span", { class: "tag warn" }, "conflict") : null,
  );
  return el("li", {}, el("div", { class: "pair" }, toWord(other), button), details);
}

