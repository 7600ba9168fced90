// The page: reads the address, asks the service, and shows one view of one word.

import { ask, keyFrom, of, Problem, showKey } from "./api.js";
import { compare } from "./compare.js";
import { announce, byId, el } from "./dom.js";
import { failed, head, loading, unknown } from "./entry.js";
import { home } from "./home.js";
import { map } from "./map.js";
import { relations } from "./relations.js";
import { go, here, link } from "./route.js";
import { searching, shownWord } from "./search.js";
import { senses } from "./senses.js";
import { count } from "./text.js";

const SHOW = { senses, relations, map, compare };

let dictionaries = null; // as the service lists them; null until it has
let showing = new AbortController();
let last = null;

/** Name@version of the dictionary that is looked at: a version's answers can be kept for ever, an alias's cannot. */
function dictionary() {
  const { dictionary: asked } = here();
  const [name, alias] = asked.split("@");
  const found =
    dictionaries?.find((one) => asked && one.name === name && (one.version === alias || one.aliases.includes(alias || "latest"))) ??
    (asked ? null : (dictionaries?.find((one) => one.aliases.includes("latest") && !one.deprecated_at) ?? dictionaries?.[0]));
  return found ? `${found.name}@${found.version}` : asked;
}

function described() {
  return dictionaries.find(({ name, version }) => `${name}@${version}` === dictionary());
}

async function render() {
  showing.abort();
  showing = new AbortController();
  const { signal } = showing;
  const place = here();
  const main = byId("main");
  const held = document.activeElement?.id;
  const rest = setTimeout(() => main.replaceChildren(loading("the entry")), 150);
  try {
    dictionaries ??= await ask("v1/dictionaries", {}, signal);
    picker();
    shownWord(place.word);
    await show(main, place, signal, rest);
    // A field that was drawn anew is still the one that is being used.
    if (held && document.activeElement === document.body) byId(held)?.focus();
  } catch (error) {
    if (error.name === "AbortError") return;
    const problem = error instanceof Problem ? error : new Problem(-1, "page", `The page has a fault: ${error.message}`);
    if (!(error instanceof Problem)) console.error(error);
    main.replaceChildren(failed(problem, again));
    announce("That went wrong");
  } finally {
    clearTimeout(rest);
    showKey();
  }
}

/** Once more, and what there is may have changed. */
function again() {
  dictionaries = null;
  render();
}

async function show(main, place, signal, rest) {
  byId("brand").href = link({ word: "", other: "" });
  if (!dictionaries.length) throw new Problem(404, "", "The service has no dictionary yet: “sensedict build” makes one.");
  if (!described()) throw new Problem(404, "", `There is no dictionary ${dictionary()}: choose another one above.`);
  if (!place.word) {
    clearTimeout(rest);
    document.title = "sensedict";
    main.replaceChildren(home(described()));
    last = place;
    return;
  }
  document.title = `${place.word} · sensedict`;
  let found;
  try {
    found = await ask(of(dictionary(), "senses"), { word: place.word }, signal);
  } catch (error) {
    if (error.code !== "word-not-found") throw error;
    clearTimeout(rest);
    main.replaceChildren(unknown(place.word, dictionary(), signal));
    announce("No entry");
    return;
  }
  clearTimeout(rest);
  const panel = el("div", { class: "panel" });
  main.replaceChildren(el("article", { class: "entry" }, head(found, place.word), panel));
  arrive(main, place, found);
  await SHOW[place.view](panel, { dictionary: dictionary(), dictionaries, found, signal });
}

/** The reader is at another word or view now: the focus must not be lost, nor the page stay scrolled to nowhere. */
function arrive(main, place, found) {
  const moved = last?.word !== place.word || last?.view !== place.view;
  const focus = document.activeElement;
  if (moved && (focus === null || focus === document.body)) {
    const target = last?.word === place.word ? main.querySelector("[aria-current=page]") : main.querySelector("h1");
    target.focus({ preventScroll: true });
  }
  if (last?.word !== place.word) {
    scrollTo(0, 0);
    announce(`${found.word}: ${count(found.senses.length, "sense")}`);
  }
  last = place;
}

function picker() {
  const select = byId("dictionary");
  const refs = dictionaries.map(({ name, version, aliases }) => [`${name}@${version}`, aliases]);
  select.replaceChildren(...refs.map(([ref, aliases]) => el("option", { value: ref, selected: ref === dictionary() }, aliases.includes("latest") ? `${ref} · latest` : ref)));
  if (!described()) select.prepend(el("option", { value: "", selected: true }, dictionaries.length ? "Choose a dictionary" : "No dictionary"));
  select.disabled = dictionaries.length === 0;
}

byId("dictionary").addEventListener("change", (event) => event.target.value && go({ dictionary: event.target.value, other: "" }));
byId("key").addEventListener("click", async () => {
  await keyFrom(false);
  again();
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the reader's place
  byId("main").focus();
});
searching(dictionary);
addEventListener("hashchange", render);
render();
