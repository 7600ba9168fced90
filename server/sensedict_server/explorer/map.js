// The map: senses of a word, of its synonyms and antonyms, and what lies near, on a plane (Figure 1 of the paper).

import { ask, of } from "./api.js";
import { announce, bdi, el, svg } from "./dom.js";
import { loading, nothing } from "./entry.js";
import { placed } from "./labels.js";
import { Plane } from "./plane.js";
import { count, measure, passage, percent, toWord } from "./text.js";

// A shape and a colour each: either alone tells them apart.
const KINDS = {
  own: ["this word", "M0,-9 A9,9 0 1,1 0,9 A9,9 0 1,1 0,-9 Z"],
  synonym: ["synonyms", "M0,-6.5 L6,4.5 L-6,4.5 Z"],
  antonym: ["antonyms and negations", "M-5,-5 H5 V5 H-5 Z"],
  neighbour: ["nearest other words", "M0,-5.5 L4.5,0 L0,5.5 L-4.5,0 Z"],
};

const NEAR = 2; // nearest other words of each sense
const ENOUGH = 3; // senses that the plane is fitted to, as the service does

/** Show the map; what lies nearest follows, since all senses are searched for it, and moves nothing. */
export async function map(panel, { dictionary, found, signal }) {
  panel.replaceChildren(loading("the map"));
  const asked = (neighbours) => ask(of(dictionary, "map"), { word: found.word, neighbours }, signal);
  const answer = await asked(0);
  if (!answer.words.length) {
    panel.replaceChildren(nothing("Nothing to draw", answer.reason ? `The word has no senses: ${answer.reason}.` : "The word has no senses."));
    return;
  }
  const view = new View(panel);
  view.show(answer);
  view.say("Looking for what lies nearest…");
  try {
    view.show(await asked(NEAR));
    view.say("");
  } catch (error) {
    if (error.name !== "AbortError") view.say(`What lies nearest could not be found: ${error.message}`);
  }
}

class View {
  constructor(panel) {
    Object.assign(this, { points: [], hidden: new Set(), chosen: null });
    this.marks = svg("g", {});
    this.names = svg("g", { class: "names", "aria-hidden": "true" });
    this.ring = svg("circle", { class: "ring", r: 13, visibility: "hidden" });
    this.svg = svg(
      "svg",
      { class: "plane", id: "plane", tabindex: "0", role: "group", "aria-describedby": "map-keys", onkeydown: (event) => this.onKey(event) },
      this.ring,
      this.marks,
      this.names,
    );
    this.tip = el("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.legend = el("fieldset", { class: "legend" });
    this.details = el("div", { class: "details", "aria-live": "polite" });
    this.kept = el("p", { class: "quiet note" });
    this.said = el("p", { class: "quiet note said" });
    this.rows = el("tbody", {});
    panel.replaceChildren(this.page());
    this.plane = new Plane(this.svg, () => this.draw());
  }

  /** Draw an answer; the reader's place and choice stay. */
  show(answer) {
    this.answer = answer;
    this.points = answer.words.flatMap((word) => word.senses.map((sense) => ({ ...sense, word })));
    this.chosen = this.points.find(({ id }) => id === this.chosen?.id) ?? null;
    this.svg.setAttribute("aria-label", `Map of ${count(this.points.length, "sense")}`);
    this.drawn = this.points.map((point) => this.mark(point));
    this.marks.replaceChildren(...this.drawn.toReversed()); // the word's own on top
    this.legend.replaceChildren(el("legend", {}, "Senses of"), ...this.kinds());
    this.rows.replaceChildren(...this.points.map((point) => this.row(point)));
    const [x, y] = answer.explained;
    this.kept.textContent = `The plane keeps ${percent(x + y)} of the spread of the word and its relations (first two principal components). What lies near here may lie apart in the other dimensions; the distances told are those of all dimensions.`;
    const own = this.points.filter(({ word }) => word.relation !== "neighbour");
    this.plane.holds(own.length < ENOUGH ? this.points : own);
    this.choose(this.chosen, false);
  }

  /** Tell what is still going on. */
  say(text) {
    this.said.textContent = text;
  }

  page() {
    const button = (name, label, onclick) => el("button", { type: "button", "aria-label": label, title: label, onclick }, name);
    const titles = [["Word"], ["Shown as"], ["Sense", "number"], ["Nearest sense", "number"], ["Distance", "number"]];
    return el(
      "div",
      { class: "map" },
      el(
        "div",
        { class: "stage" },
        this.svg,
        this.tip,
        el("div", { class: "zoom" }, button("+", "Zoom in", () => this.plane.zoomBy(1.5)), button("−", "Zoom out", () => this.plane.zoomBy(1 / 1.5)), button("⤢", "Show all", () => this.plane.fit())),
      ),
      el(
        "div",
        { class: "beside" },
        this.legend,
        this.said,
        this.details,
        this.kept,
        el("p", { class: "quiet note", id: "map-keys" }, "Drag, scroll or pinch. On the keyboard: arrows move, ", el("kbd", {}, "+"), " ", el("kbd", {}, "−"), " zoom, ", el("kbd", {}, "0"), " shows all, ", el("kbd", {}, "N"), " and ", el("kbd", {}, "P"), " step through senses, ", el("kbd", {}, "Enter"), " opens the word."),
      ),
      el(
        "details",
        { class: "as-table" },
        el("summary", {}, "The same as a table"),
        el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, titles.map(([title, kind]) => el("th", { scope: "col", class: kind }, title)))), this.rows)),
      ),
    );
  }

  kinds() {
    const there = Object.keys(KINDS).filter((kind) => this.answer.words.some(({ relation }) => relation === kind));
    return there.map((kind) => {
      const box = el("input", {
        type: "checkbox",
        checked: !this.hidden.has(kind),
        onchange: () => {
          if (box.checked) this.hidden.delete(kind);
          else this.hidden.add(kind);
          this.draw();
        },
      });
      const shape = svg("svg", { viewBox: kind === "own" ? "-11 -11 22 22" : "-8 -8 16 16", class: `key ${kind}`, "aria-hidden": "true" }, svg("path", { d: KINDS[kind][1] }));
      return el("label", {}, box, shape, KINDS[kind][0]);
    });
  }

  mark(point) {
    const { relation } = point.word;
    return svg(
      "g",
      {
        class: `mark ${relation}`,
        onpointerenter: () => this.hover(point),
        onpointerleave: () => this.hover(null),
        onclick: () => this.plane.moved <= 4 && this.choose(point),
        ondblclick: () => this.open(point),
      },
      svg("path", { d: KINDS[relation][1] }),
      relation === "own" ? svg("text", { class: "own-number", "text-anchor": "middle", y: 4 }, String(point.ordinal + 1)) : null,
    );
  }

  /** Put everything where the plane has it. */
  draw() {
    if (!this.points.length) return;
    const shown = ({ word }) => !this.hidden.has(word.relation);
    const places = this.points.map((point) => this.plane.place(point));
    this.drawn.forEach((node, at) => {
      node.setAttribute("transform", `translate(${places[at][0].toFixed(1)},${places[at][1].toFixed(1)})`);
      node.setAttribute("visibility", shown(this.points[at]) ? "visible" : "hidden");
    });
    // A name may lie over small marks where it must, never over the word's own numbers.
    const seen = places.map((place, at) => [...place, this.points[at].word.relation === "own"]).filter((_, at) => shown(this.points[at]));
    const wanted = this.answer.words
      .filter((word) => !this.hidden.has(word.relation))
      .map((word) => ({ name: name(word), points: places.filter((_, at) => this.points[at].word === word), size: word.relation === "own" ? 16 : 12.5, gap: word.relation === "own" ? 14 : 9, relation: word.relation }));
    this.names.replaceChildren(
      ...placed(wanted, seen, this.plane.width, this.plane.height).map((label) => svg("text", { class: `name ${label.relation}`, x: label.x, y: label.y, "text-anchor": label.anchor, "font-size": label.size }, label.name)),
    );
    if (this.chosen) {
      const [x, y] = this.plane.place(this.chosen);
      this.ring.setAttribute("cx", x);
      this.ring.setAttribute("cy", y);
    }
    this.ring.setAttribute("visibility", this.chosen && shown(this.chosen) ? "visible" : "hidden");
  }

  hover(point) {
    this.tip.hidden = point === null;
    if (!point) return;
    this.tip.replaceChildren(...told(point));
    const [x, y] = this.plane.place(point);
    const right = x > this.plane.width / 2;
    this.tip.style.left = right ? "auto" : `${x + 16}px`;
    this.tip.style.right = right ? `${this.plane.width - x + 16}px` : "auto";
    this.tip.style.top = `${Math.min(Math.max(y - 20, 8), this.plane.height - 110)}px`;
  }

  choose(point, reveal = true) {
    this.chosen = point;
    if (!point) {
      this.details.replaceChildren(el("p", { class: "quiet" }, "Choose a sense to read about it."));
      return this.draw();
    }
    const other = [
      el("p", { class: "quiet" }, `Nearest to sense ${this.ordinal(point.nearest)} of this word, at ${measure(point.distance)}.`),
      el("p", {}, "Open ", toWord(point.word.text)),
    ];
    this.details.replaceChildren(...told(point), ...(point.word.relation === "own" ? [] : other));
    if (reveal) this.plane.reveal(point);
    this.draw();
  }

  ordinal(id) {
    return (this.answer.words[0].senses.find((sense) => sense.id === id)?.ordinal ?? 0) + 1;
  }

  open(point) {
    if (point && point.word.relation !== "own") location.hash = toWord(point.word.text).hash;
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { n: 1, p: -1 }[event.key.toLowerCase()];
    if (step) {
      const there = this.points.filter(({ word }) => !this.hidden.has(word.relation));
      const at = there.indexOf(this.chosen);
      if (there.length) this.choose(there[at < 0 ? (step > 0 ? 0 : there.length - 1) : (at + step + there.length) % there.length]);
    } else if (event.key === "Enter") {
      this.open(this.chosen);
    } else if (event.key === "Escape" && this.chosen) {
      this.choose(null);
      announce("No sense is chosen");
    } else if (!this.plane.onKey(event.key, this.chosen)) {
      return;
    }
    event.preventDefault();
  }

  row(point) {
    const cells = [KINDS[point.word.relation][0], String(point.ordinal + 1), String(this.ordinal(point.nearest)), measure(point.distance)];
    return el("tr", {}, el("th", { scope: "row" }, toWord(point.word.text)), cells.map((cell, at) => el("td", { class: at ? "number" : null }, cell)));
  }
}

function name({ text }) {
  return text.trim() || text;
}

function told(point) {
  return [
    el("p", { class: "told" }, el("strong", {}, bdi(name(point.word))), el("span", { class: "quiet" }, ` sense ${point.ordinal + 1}${point.count ? ` · ${count(point.count, "use")}` : ""}`)),
    point.context ? passage(point.context) : null,
  ].filter(Boolean);
}
