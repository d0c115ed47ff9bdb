"use strict";

const PAGE = 48;
const $ = (id) => document.getElementById(id);
let desk = null;
let picks = [];
let revision = -1;
let shown = PAGE;
let current = null;
const waiting = {};

async function ask(path) {
  const answer = await fetch(`api/${path}`);
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer.json();
}

async function act(what) {
  const body = JSON.stringify(what);
  const answer = await fetch("api/act", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

function tell(text) {
  $("status").textContent = text;
}

/* One thing at a time, in the order of keys and clicks: a late answer must not meet a newer page. */
let turn = Promise.resolve();
function guarded(work) {
  return (...given) => {
    turn = turn.then(() => work(...given)).catch((error) => tell(`Not done: ${error.message}`));
  };
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const objectNamed = (name) => desk.objects.find((one) => one.name === name);
const passes = (pick, threshold) => pick.score === null || pick.score >= threshold;
const ofPick = ([index, object, was, score, x, y, z, verdict, apart]) =>
  ({ index, object, was, score, x, y, z, verdict, apart });

/* Scores by object, ascending, so that a slider counts by bisection. */
let scores = {};
function sortScores() {
  scores = Object.fromEntries(desk.objects.map((one) => [one.name, []]));
  for (const pick of picks) {
    if (pick.verdict !== "rejected") scores[pick.object].push(pick.score === null ? 2 : pick.score);
  }
  for (const list of Object.values(scores)) list.sort((a, b) => a - b);
}

function firstFrom(list, value) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function countOf(name) {
  return scores[name].length - firstFrom(scores[name], objectNamed(name).threshold);
}

function drawObjects() {
  const truth = Object.keys(desk.curves).length > 0;
  const columns = ["Object", "Picks", "Least", "score", ...(truth ? ["P", "R", `F${desk.beta}`] : [])];
  $("columns").replaceChildren(...columns.map((text) => element("th", { scope: "col", textContent: text })));
  $("truth-note").textContent = truth ? "Precision, recall and F are over the runs that hold picks, before corrections." : "";
  $("objects").replaceChildren(...desk.objects.map((one, i) => objectRow(one, i, truth)));
  desk.objects.forEach((one) => drawNumbers(one));
}

function objectRow(one, i, truth) {
  const radio = element("input", { type: "radio", name: "chosen", checked: one.name === desk.chosen });
  radio.addEventListener("change", guarded(() => choose(one.name)));
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = one.color;
  const label = element("label", {}, radio, swatch, `${one.name} `, i < 9 ? element("kbd", { textContent: i + 1 }) : "");
  const slider = element("input", { type: "range", min: 0, max: 1, step: 0.005, value: one.threshold, id: `slider-${i}` });
  slider.setAttribute("aria-label", `Least score of ${one.name}`);
  slider.addEventListener("input", () => slide(one, Number(slider.value)));
  const cells = ["count", "value", ...(truth ? ["p", "r", "f"] : [])].map((what) => element("td", { id: `${what}-${i}` }));
  return element("tr", {}, element("th", { scope: "row" }, label), cells[0], element("td", {}, slider), ...cells.slice(1));
}

function at(curve, threshold) {
  const i = firstFrom(curve.threshold, threshold);
  if (i >= curve.threshold.length) return null;
  return { p: curve.precision[i], r: curve.recall[i], f: curve.f[i] };
}

function drawNumbers(one) {
  const i = desk.objects.indexOf(one);
  $(`count-${i}`).textContent = countOf(one.name);
  $(`value-${i}`).textContent = one.threshold.toFixed(2);
  const curve = desk.curves[one.name];
  if (curve) {
    const here = at(curve, one.threshold);
    for (const what of ["p", "r", "f"]) $(`${what}-${i}`).textContent = here ? here[what].toFixed(2) : "–";
  }
  if (one.name === desk.chosen) drawCurve(one);
}

function slide(one, value) {
  one.threshold = value;
  drawNumbers(one);
  clearTimeout(waiting[one.name]);
  waiting[one.name] = setTimeout(
    guarded(async () => {
      await act({ do: "threshold", object: one.name, value });
      if (one.name === desk.chosen) drawGallery();
    }),
    200,
  );
}

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function drawCurve(one) {
  const curve = desk.curves[one.name];
  $("curve").hidden = !curve || curve.threshold.length === 0;
  if ($("curve").hidden) return;
  const place = (r, p) => [30 + 180 * r, 140 - 130 * p];
  const line = curve.recall.map((r, i) => place(r, curve.precision[i]).join(",")).join(" ");
  const here = at(curve, one.threshold);
  const parts = [
    svg("path", { class: "axis", d: "M30 10V140H210", fill: "none" }),
    svg("text", { x: 120, y: 164, "text-anchor": "middle" }, "recall"),
    svg("text", { x: 12, y: 75, "text-anchor": "middle", transform: "rotate(-90 12 75)" }, "precision"),
    svg("polyline", { class: "line", points: line }),
  ];
  if (here) {
    const [cx, cy] = place(here.r, here.p);
    parts.push(svg("circle", { class: "dot", cx, cy, r: 5 }));
  }
  const drawing = $("curve").querySelector("svg");
  drawing.replaceChildren($("curve-title"), ...parts);
  const words = here ? `precision ${here.p.toFixed(2)}, recall ${here.r.toFixed(2)}` : "no picks are left";
  $("curve-title").textContent = `Precision against recall of ${one.name}`;
  $("curve-caption").textContent = `${one.name} from ${one.threshold.toFixed(2)} up: ${words}`;
}

const ORDERS = {
  score: (a, b) => (b.score ?? 2) - (a.score ?? 2),
  low: (a, b) => (a.score ?? 2) - (b.score ?? 2),
  near: (a, b) => away(a) - away(b),
  apart: (a, b) => b.apart - a.apart,
};
const away = (pick) => Math.abs((pick.score ?? 2) - objectNamed(pick.object).threshold);
const FILTERS = {
  open: (pick) => pick.verdict === "",
  all: () => true,
  accepted: (pick) => pick.verdict === "accepted" || pick.verdict === "added",
  rejected: (pick) => pick.verdict === "rejected",
};

function drawGallery() {
  const threshold = objectNamed(desk.chosen).threshold;
  const near = $("sort").value === "near";
  const chosen = picks
    .filter((pick) => pick.object === desk.chosen && FILTERS[$("filter").value](pick))
    .filter((pick) => near || passes(pick, threshold))
    .sort(ORDERS[$("sort").value]);
  $("gallery-title").textContent = `Gallery: ${chosen.length} of ${desk.chosen}`;
  const focused = $("gallery").contains(document.activeElement);
  $("gallery").replaceChildren(...chosen.slice(0, shown).map(tileOf));
  $("more").hidden = chosen.length <= shown;
  const tile = current && tileAt(current.index);
  if (!tile) current = null; // keys must not judge what nobody sees
  else if (focused) tile.focus();
  else mark();
}

function words(pick) {
  const score = pick.score === null ? "added" : pick.score.toFixed(2);
  return pick.verdict && pick.verdict !== "added" ? `${score}, ${pick.verdict}` : score;
}

function tileOf(pick) {
  const image = element("img", { src: `api/tile/${pick.index}.png`, alt: "", loading: "lazy" });
  const tile = element("button", { type: "button", className: `tile ${pick.verdict}` }, image);
  tile.append(element("span", { textContent: words(pick) }));
  tile.dataset.index = pick.index;
  tile.setAttribute("aria-label", `${pick.object}, ${words(pick)}`);
  const take = () => {
    current = pick;
    mark();
  };
  tile.addEventListener("focus", take);
  tile.addEventListener("click", take);
  tile.addEventListener("click", guarded(() => act({ do: "fly", index: pick.index })));
  return tile;
}

const tileAt = (index) => $("gallery").querySelector(`[data-index="${index}"]`);

function mark() {
  for (const tile of $("gallery").children) {
    tile.setAttribute("aria-current", String(current !== null && Number(tile.dataset.index) === current.index));
  }
}

async function choose(name) {
  desk.chosen = name;
  shown = PAGE;
  drawNumbers(objectNamed(name));
  drawGallery();
  await act({ do: "choose", object: name });
}

async function say(verdict, object) {
  if (current === null) return tell("Choose a picture first.");
  const tile = tileAt(current.index);
  const told = await act({ do: "say", index: current.index, verdict, ...(object ? { object } : {}) });
  const changed = ofPick(told.pick);
  Object.assign(picks.find((pick) => pick.index === changed.index), changed);
  if (told.revision === revision + 1) revision = told.revision; // else there is news of other tabs, too
  $("said").textContent = `${told.said} reviewed`;
  tell(`${changed.verdict}: ${changed.object}`);
  sortScores();
  desk.objects.forEach(drawNumbers);
  const next = tile ? tile.nextElementSibling : null;
  if (tile) tile.replaceWith(tileOf(changed));
  if (next && current?.index === changed.index) next.focus();
  else mark();
}

async function undo() {
  await act({ do: "undo" });
  tell("taken back");
  await load();
}

async function load() {
  const told = await ask("picks");
  picks = told.picks.map(ofPick);
  revision = told.revision;
  desk.run = told.run;
  $("run").value = told.run;
  $("said").textContent = `${told.said} reviewed`;
  current = current && picks.find((pick) => pick.index === current.index);
  sortScores();
  drawObjects();
  drawGallery();
}

async function follow() {
  try {
    const told = await ask("revision");
    if (told.revision !== revision || told.run !== desk.run) await load();
  } catch (error) {
    tell("The server does not answer; was it ended? What you said is saved.");
  }
  setTimeout(guarded(follow), 2000);
}

function keyed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const number = Number(event.key);
  if (event.key === "a") guarded(say)("accepted");
  else if (event.key === "r") guarded(say)("rejected");
  else if (event.key === "u") guarded(undo)();
  else if (number >= 1 && number <= Math.min(9, desk.objects.length)) guarded(say)("accepted", desk.objects[number - 1].name);
  else if (event.target.classList.contains("tile") && event.key.startsWith("Arrow")) {
    const back = event.key === "ArrowLeft" || event.key === "ArrowUp";
    const next = back ? event.target.previousElementSibling : event.target.nextElementSibling;
    if (next) next.focus();
    event.preventDefault();
  }
}

async function start() {
  desk = await ask("start");
  $("viewer").src = desk.viewer;
  if (!desk.compared) $("sort").querySelector("[value=apart]").remove();
  $("run").replaceChildren(...desk.runs.map((run) => element("option", { value: run, textContent: run })));
  $("run").addEventListener("change", guarded(async () => {
    await act({ do: "show", run: $("run").value });
    await load();
  }));
  $("undo").addEventListener("click", guarded(undo));
  for (const id of ["sort", "filter"]) {
    $(id).addEventListener("change", () => {
      shown = PAGE;
      drawGallery();
    });
  }
  $("more").addEventListener("click", () => {
    shown += PAGE;
    drawGallery();
  });
  document.addEventListener("keydown", keyed);
  await load();
  tell(`Corrections are saved in ${desk.corrections}`);
  setTimeout(guarded(follow), 2000);
}

guarded(start)();
