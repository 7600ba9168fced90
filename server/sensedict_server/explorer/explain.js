// Where a relation comes from: its source and licence, and the steps by which a derived one was made.

import { ask, of } from "./api.js";
import { bdi, el } from "./dom.js";

/** What is known of a relation; its derivation is asked for, where it has one. */
export function explanation(relation, dictionary, signal) {
  const rows = [
    ["Source", [bdi(relation.source), relation.source_version ? [", ", bdi(relation.source_version)] : null]],
    ["Licence", bdi(relation.licence)],
    ["Rule", relation.rule ? el("code", {}, relation.rule) : null],
    ["Leans on", relation.via ? [bdi(relation.via.name), " · ", bdi(relation.via.licence)] : null],
    ["Part of speech", relation.pos],
    ["Listed under", relation.glosses.length ? relation.glosses.map(({ word, text }) => el("span", { class: "line" }, el("em", {}, bdi(word)), ": ", bdi(text))) : null],
    ["Conflict", relation.conflict ? "listed both as synonym and as antonym; not used in training" : null],
  ];
  const steps = el("div", { class: "steps" });
  const node = el(
    "div",
    { class: "explanation" },
    el("dl", {}, rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    steps,
  );
  follow(steps, relation, dictionary, signal);
  return node;
}

async function follow(steps, relation, dictionary, signal) {
  if (relation.parent !== null) steps.append(el("p", { class: "quiet" }, "Following it back…"));
  try {
    const { chain, derivations, judgement } = await ask(of(dictionary, `relations/${relation.id}`), {}, signal);
    steps.replaceChildren(...(chain.length > 1 ? [derivation(chain, derivations)] : []), ...(judgement ? [judged(judgement)] : []));
  } catch (error) {
    if (error.name !== "AbortError") steps.replaceChildren(el("p", { class: "quiet" }, `Its derivation could not be read: ${error.message}`));
  }
}

function derivation(chain, derivations) {
  // The answer leads back to the original; a reader starts from there.
  const told = chain.map((relation, at) => {
    const step = derivations[at];
    return el(
      "li",
      {},
      el("span", { class: "line" }, bdi(relation.word), el("span", { class: "edge" }, ` ${relation.type} `), bdi(relation.other)),
      step ? by(step) : el("span", { class: "line quiet" }, "listed by ", bdi(relation.source), " · ", bdi(relation.licence)),
    );
  });
  return el("ol", { class: "chain", "aria-label": "Derivation, from the relation that a source lists" }, told.reverse());
}

function by({ rule, negated }) {
  return el(
    "span",
    { class: "line quiet" },
    "by ",
    el("code", {}, rule),
    negated.map(({ word, base, segmentation, source }) => [
      ": ",
      bdi(word),
      " → ",
      bdi(base),
      segmentation ? [" (", el("code", {}, segmentation), source ? [", ", bdi(source.name)] : null, ")"] : null,
    ]),
  );
}

function judged({ reason, author }) {
  return el("p", { class: "quiet" }, "Added by ", bdi(author), ": ", bdi(reason));
}
