// The senses of a word as cards: how often each was met, passages, and what lies near.

import { ask, of } from "./api.js";
import { bdi, el } from "./dom.js";
import { nothing } from "./entry.js";
import { count, measure, passage, percent, toWord } from "./text.js";

const NEAR = 6;

/** Show the senses; what lies near follows, since all senses are searched for it. */
export function senses(panel, { dictionary, found, signal }) {
  const cards = found.senses.map((sense) => card(sense, found));
  panel.replaceChildren(
    el(
      "div",
      { class: found.glosses.length ? "columns" : "column" },
      el("section", { "aria-label": "Senses", class: "cards" }, cards.length ? cards.map(({ node }) => node) : without(found)),
      found.glosses.length ? glosses(found.glosses) : null,
    ),
  );
  if (cards.length) return near(cards, dictionary, found, signal);
}

/** One sense; `node`, and `near` to be filled. */
export function card(sense, found) {
  const total = found.senses.reduce((sum, { count: uses }) => sum + uses, 0);
  const place = el("div", { class: "near" });
  const node = el(
    "article",
    { class: "card", "aria-label": `Sense ${sense.ordinal + 1}`, id: `sense-${sense.id}` },
    el("h2", { class: "ordinal" }, String(sense.ordinal + 1)),
    el(
      "div",
      { class: "card-body" },
      total ? uses(sense, total) : el("p", { class: "uses quiet" }, "composed of senses of its tokens", identity(sense)),
      sense.contexts.map(passage),
      total && !sense.contexts.length ? el("p", { class: "quiet" }, "No passage is shown for this sense.") : null,
      place,
    ),
  );
  return { node, near: place, sense };
}

function uses(sense, total) {
  const share = sense.count / total;
  const bar = el("span", { class: "bar-fill" });
  bar.style.inlineSize = `${Math.max(share * 100, 1)}%`;
  return el(
    "p",
    { class: "uses" },
    el("span", { class: "share", "aria-hidden": "true" }, bar),
    el("span", {}, el("strong", {}, percent(share)), ` · ${count(sense.count, "use")}`),
    el("span", { class: "quiet spread", title: "Mean squared distance of its uses to the sense, by dimension: small is of one kind" }, `spread ${measure(sense.inertia)}`),
    identity(sense),
  );
}

function identity({ id }) {
  return el("span", { class: "quiet id", title: "Number of the sense in this dictionary" }, `#${id}`);
}

function without(found) {
  return nothing("No senses", found.reason ? `The dictionary has none for this word: ${found.reason}.` : "The dictionary has none for this word.", "Its relations may still be of use.");
}

async function near(cards, dictionary, found, signal) {
  for (const { near: place } of cards) place.append(el("span", { class: "quiet" }, "Looking for what lies near…"));
  let answer;
  try {
    answer = await ask(of(dictionary, "senses"), { word: found.word, neighbours: NEAR }, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    for (const { near: place } of cards) place.replaceChildren(el("span", { class: "quiet" }, `What lies near could not be found: ${error.message}`));
    return;
  }
  answer.senses.forEach(({ neighbours }, at) => {
    const words = neighbours ?? [];
    cards[at]?.near.replaceChildren(
      ...(words.length ? [el("span", { class: "quiet label" }, "near "), ...words.flatMap((word) => [toWord(word.text, { title: `distance ${measure(word.distance)}` }), " "])] : []),
    );
  });
}

function glosses(all) {
  const bySource = Map.groupBy(all, ({ source }) => source);
  return el(
    "aside",
    { class: "glosses", "aria-label": "What the sources say" },
    el("h2", {}, "What the sources say"),
    [...bySource].map(([source, told]) =>
      el(
        "section",
        {},
        el("ol", {}, told.map(({ text, pos }) => el("li", {}, pos ? el("span", { class: "pos" }, `${pos} `) : null, bdi(text)))),
        el("p", { class: "credit" }, bdi(source), " · ", bdi(told[0].licence)),
      ),
    ),
  );
}
