// A word in two dictionaries side by side: by the published map of senses where there is one, else each for itself.

import { ask, of, Problem } from "./api.js";
import { bdi, el } from "./dom.js";
import { loading, nothing } from "./entry.js";
import { go, here } from "./route.js";
import { count, measure, passage, percent } from "./text.js";

const STATES = { kept: "kept", moved: "moved", split: "split", merged: "merged", new: "new", gone: "gone" };

/** Show the comparison; the other dictionary is that of the address, else the next version of the same name. */
export async function compare(panel, { dictionary, dictionaries, found, signal }) {
  const others = dictionaries.map(({ name, version }) => `${name}@${version}`).filter((ref) => ref !== dictionary);
  if (!others.length) {
    panel.replaceChildren(nothing("Nothing to compare with", "The service has this one dictionary. As soon as another version is published, a word can be seen in both."));
    return;
  }
  const family = others.find((ref) => ref.split("@")[0] === dictionary.split("@")[0]);
  const other = others.includes(here().other) ? here().other : (family ?? others[0]);
  const body = el("div", {}, loading("both dictionaries"));
  panel.replaceChildren(el("div", { class: "compare" }, pickers(dictionary, other, others), body));
  const [there, moves] = await Promise.all([inOther(other, found.word, signal), mapped(dictionary, other, found.word, signal)]);
  body.replaceChildren(...(moves && there ? matched(found, there, moves) : apart(found, there, dictionary, other)));
}

function pickers(dictionary, other, others) {
  const select = el(
    "select",
    { id: "other", onchange: () => go({ other: select.value }) },
    others.map((ref) => el("option", { value: ref, selected: ref === other }, ref)),
  );
  return el(
    "div",
    { class: "sides" },
    el("p", { class: "side" }, bdi(dictionary)),
    el("p", { class: "versus", "aria-hidden": "true" }, "→"),
    el("p", { class: "side" }, el("label", { for: "other", class: "hidden" }, "Compare with"), select),
  );
}

async function inOther(ref, word, signal) {
  return orNull(ask(of(ref, "senses"), { word }, signal), "word-not-found");
}

/** Rows {old, new, distance, state} from the one to the other, whichever way round the map was published; or null. */
async function mapped(from, to, word, signal) {
  const there = await orNull(ask(of(from, "idMap/senses"), { to, word }, signal), "id-map-not-found", "word-not-found");
  if (there) return there.moves;
  const back = await orNull(ask(of(to, "idMap/senses"), { to: from, word }, signal), "id-map-not-found", "word-not-found");
  const turned = { new: "gone", gone: "new", split: "merged", merged: "split" };
  return back && back.moves.map(({ old, new: became, distance, state }) => ({ old: became, new: old, distance, state: turned[state] ?? state }));
}

async function orNull(answer, ...codes) {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof Problem && codes.includes(error.code)) return null;
    throw error;
  }
}

function matched(here, there, moves) {
  const [left, right] = [byId(here), byId(there)];
  const order = (move) => [left.get(move.old)?.ordinal ?? Infinity, right.get(move.new)?.ordinal ?? Infinity];
  const rows = moves.toSorted((a, b) => order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1]);
  const met = new Set();
  const side = (sense, of, key) => {
    if (!sense) return el("div", { class: "empty" }, el("span", { class: "quiet" }, "—"));
    if (met.has(key)) return el("div", { class: "again quiet" }, `sense ${sense.ordinal + 1}, as above`);
    met.add(key);
    return small(sense, of);
  };
  const list = rows.map((move) =>
    el(
      "li",
      { class: "match", "data-state": move.state },
      side(left.get(move.old), here, `a${move.old}`),
      el("p", { class: "state" }, el("span", { class: "state-name" }, STATES[move.state] ?? move.state), move.distance === null ? null : el("span", { class: "quiet" }, ` ${measure(move.distance)}`)),
      side(right.get(move.new), there, `b${move.new}`),
    ),
  );
  const tally = [...Map.groupBy(moves, ({ state }) => state)].map(([state, of]) => `${of.length} ${STATES[state] ?? state}`).join(", ");
  return [
    el("p", { class: "quiet" }, rows.length ? `${tally}. Distances are measured in what a use lies from its sense, on average: 1 is as far as that.` : "Neither has senses of this word."),
    el("ol", { class: "matches" }, list),
  ];
}

function byId({ senses }) {
  return new Map(senses.map((sense) => [sense.id, sense]));
}

function apart(here, there, dictionary, other) {
  const column = (found, ref) =>
    el(
      "section",
      { "aria-label": ref },
      found === null
        ? nothing("Not there", el("span", {}, bdi(ref), " does not have this word."))
        : found.senses.length
          ? found.senses.map((sense) => small(sense, found))
          : nothing("No senses", found.reason ?? "It has no senses of this word."),
    );
  return [
    there && el("p", { class: "quiet" }, "Which sense became which is not known: no map between the two is published. “", el("code", {}, `sensedict diff ${dictionary} ${other} --publish`), "” makes one."),
    el("div", { class: "two" }, column(here, dictionary), column(there, other)),
  ].filter(Boolean);
}

function small(sense, { senses }) {
  const total = senses.reduce((sum, { count: uses }) => sum + uses, 0);
  return el(
    "article",
    { class: "card small", "aria-label": `Sense ${sense.ordinal + 1}` },
    el("h2", { class: "ordinal" }, String(sense.ordinal + 1)),
    el(
      "div",
      { class: "card-body" },
      el("p", { class: "uses" }, total ? el("span", {}, el("strong", {}, percent(sense.count / total)), ` · ${count(sense.count, "use")}`) : el("span", { class: "quiet" }, "composed"), el("span", { class: "quiet id" }, `#${sense.id}`)),
      sense.contexts.slice(0, 2).map(passage),
    ),
  );
}
