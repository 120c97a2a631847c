// The form for an experiment: variants, each a set of techniques, over a base and seeds.

import { ask } from "./api.js";
import { defaultOf, equal, fill, get, isObject, listen, patch, placeOf, put, read, setValue, showWhatCounts, valueOf }
  from "./controls.js";
import { readSeeds, writeSeeds } from "./seeds.js";
import { bytes, compact, count, seconds, Submission } from "./submission.js";

const element = (id) => document.getElementById(id);
const [form, base, rules, stoppingRule, variants] = ["new-experiment", "base", "rules", "stopping-rule", "variants"].map(element);
const BLANK = {
  name: "dropout or not",
  base: { dataset: { name: "mnist_5k" } },
  variants: [{ name: "none", changes: {} }, { name: "dropout", changes: { regularization: { dropout: {} } } }],
  seeds: [0, 1, 2],
};

// ---- variants

let made = 0;

function addVariant({ name = "", changes = {} } = {}, { isBaseline = false, before = null } = {}) {
  const card = element("variant").content.firstElementChild.cloneNode(true);
  card.dataset.number = ++made;
  const nameInput = card.querySelector(".variant-name");
  nameInput.value = name;
  card.querySelector(".baseline").checked = isBaseline;
  const { regularization = {}, ...others } = changes;
  const beyond = {};
  for (const [technique, parameters] of Object.entries(regularization)) {
    if (isObject(parameters) && element(`technique-${technique}`)) addTechnique(card, technique, parameters);
    else beyond[technique] = parameters;
  }
  if (Object.keys(beyond).length) others.regularization = beyond;
  if (Object.keys(others).length) {
    card.querySelector(".other-changes").value = JSON.stringify(others, null, 1);
    card.querySelector(".other").open = true;
  }
  variants.insertBefore(card, before);
  if (!name || name === usualName(card)) nameInput.dataset.usual = "";
  settle(card);
  return card;
}

function addTechnique(card, technique, parameters = {}) {
  const chosen = element(`technique-${technique}`).content.firstElementChild.cloneNode(true);
  // Ids must be another for each copy.
  const prefix = `v${card.dataset.number}`;
  for (const each of chosen.querySelectorAll("[id], [for], [aria-describedby]"))
    for (const attribute of ["id", "for", "aria-describedby"])
      if (each.hasAttribute(attribute)) each.setAttribute(attribute, each.getAttribute(attribute).replace(/^v/, prefix));
  for (const field of chosen.querySelectorAll(".field")) {
    const given = parameters[field.dataset.pointer.split("/").at(-1)];
    setValue(field, given === undefined ? defaultOf(field) : given);
  }
  card.querySelector(".variant-techniques").append(chosen);
  return chosen;
}

// What depends on what a variant has: which techniques are left to choose, and its name until somebody gives one.
function settle(card) {
  const has = new Set([...card.querySelectorAll("[data-technique]")].map((each) => each.dataset.technique));
  for (const option of card.querySelectorAll(".add-technique option")) option.disabled = has.has(option.value);
  card.querySelector(".nothing").hidden = has.size > 0 || card.querySelector(".other-changes").value.trim() !== "";
  const name = card.querySelector(".variant-name");
  if ("usual" in name.dataset) name.value = usualName(card);
}

function usualName(card) {
  const { regularization = {} } = read(card);
  const parts = Object.entries(regularization).map(([technique, parameters]) =>
    [technique.replaceAll("_", " "), ...Object.entries(parameters).map(([name, value]) => `${name} ${value}`)].join(" "));
  return parts.join(" + ") || "none";
}

function readVariant(card) {
  const inBase = get(read(base), "/regularization") ?? {};
  const changes = read(card, (technique) => technique in inBase);
  const text = card.querySelector(".other-changes").value.trim();
  const others = card.querySelector(".other");
  const fault = others.querySelector(".fault");
  fault.hidden = true;
  if (text) {
    try {
      const given = JSON.parse(text);
      changes.regularization = { ...given.regularization, ...changes.regularization };
      if (!Object.keys(changes.regularization).length) delete changes.regularization;
      Object.assign(changes, { ...given, ...(changes.regularization && { regularization: changes.regularization }) });
    } catch (error) {
      fault.hidden = false;
      fault.textContent = `This is no JSON yet: ${error.message}`;
    }
  }
  return { name: card.querySelector(".variant-name").value, changes };
}

// ---- the whole document

let kept = {};
let preset = null;

function open(experiment) {
  const { name, base: under = {}, variants: all = [], seeds = [0], replicates, baseline, ...rest } = experiment;
  kept = Object.keys(under.labels ?? {}).length ? { labels: under.labels } : {};
  setValue(nameField, name ?? "");
  element("seeds").value = writeSeeds(replicates ? Array.from({ length: replicates }, (_, index) => index) : seeds);
  fill(base, under);
  fill(rules, rest);
  fill(stoppingRule, rest);
  variants.replaceChildren();
  all.forEach((each, index) =>
    addVariant(each, { isBaseline: baseline ? each.name === baseline : index === 0 }));
}

const nameField = document.querySelector('.field[data-pointer="/name"]');

function readWhole() {
  const cards = [...variants.children];
  const whole = {
    name: valueOf(nameField) ?? "",
    base: read(base),
    variants: cards.map(readVariant),
    seeds: readSeeds(element("seeds").value),
    ...read(rules),
    ...read(stoppingRule),
  };
  if (kept.labels) whole.base.labels = kept.labels;
  const baseline = cards.findIndex((card) => card.querySelector(".baseline").checked);
  if (baseline > 0) whole.baseline = whole.variants[baseline].name;
  return whole;
}

// What is posted: a preset and what differs from it, or the whole.
function document_() {
  const whole = readWhole();
  return preset === null ? whole : { preset: preset.name, ...patch(preset.whole, whole) };
}

function merged(target, change) {
  if (!isObject(change)) return change;
  const result = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(change)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}

function startFrom(name, overrides = {}) {
  const found = presets.find((each) => each.name === name);
  element("preset").value = found ? name : "";
  const option = element("preset").selectedOptions[0];
  open(found ? found.document : BLANK);
  preset = found ? { name, whole: readWhole() } : null;
  if (Object.keys(overrides).length) open(merged(found ? found.document : {}, overrides));
  const instead = overrides.base?.dataset?.name ? "" : chooseWhatIsHere();
  element("preset-help").textContent = found
    ? `${option.dataset.title}. What should come out: ${option.dataset.expect}${instead}`
    : "A preset fills the form; everything can be changed afterwards.";
}

// Without its dataset on this machine a preset would begin with a download: it begins with another one.
function chooseWhatIsHere() {
  const field = base.querySelector('.field[data-pointer="/dataset/name"]');
  const wanted = valueOf(field);
  const here = datasets.filter((each) => each.available).map((each) => each.name);
  if (here.includes(wanted) || !here.length) return "";
  setValue(field, here[0]);
  return ` Not on this machine yet: ${wanted}; the form begins with ${here[0]} instead.`;
}

// ---- the page

const submission = new Submission({
  form,
  path: "/v1/experiments",
  read: document_,
  words: (cost) => [
    ["Jobs", cost.reused ? `${count(cost.jobs)}, of which ${count(cost.reused)} were trained before` : count(cost.jobs)],
    ["Time on one worker", cost.to_train ? seconds(cost.estimated_seconds) : "none: all were trained before"],
    ["Memory of the largest job", bytes(cost.memory_bytes)],
    ["Weights to train", weights(Object.values(cost.parameters))],
    ...(cost.detectable ? [["What it can show", detectable(cost.detectable)]] : []),
  ],
  scopeOf(pointer) {
    const [, part, number, ...further] = pointer.split("/");
    if (part === "base") return [base, pointer.slice("/base".length)];
    const card = part === "variants" ? variants.children[Number(number)] : undefined;
    if (!card) return [form, pointer];
    const inside = `/${further.slice(further[0] === "changes" ? 1 : 0).join("/")}`;
    return placeOf(card, inside) ? [card, inside] : [card, "/changes"];
  },
  page: (experiment) => `/experiments/${experiment.id}`,
  address(posted) {
    if (equal(posted, { preset: preset?.name })) return `?${new URLSearchParams(posted)}`;
    return equal(posted, blank) ? "" : `?${new URLSearchParams({ spec: JSON.stringify(posted) })}`;
  },
});

function weights(each) {
  const [least, most] = [Math.min(...each), Math.max(...each)];
  return least === most ? count(least) : `${compact(least)} to ${compact(most)}`;
}

const detectable = ({ pairs, accuracy_points: points, effect_size: effectSize }) =>
  points === null
    ? `with ${pairs} seeds a difference of ${effectSize.toFixed(1)} standard deviations or more, four times in five`
    : `with ${pairs} seeds a difference of ${points.toFixed(2)} points of accuracy or more, four times in five`;

// Something sensible to begin with, once it is switched on.
stoppingRule.querySelector(".switch").addEventListener("change", ({ target }) => {
  if (!target.checked) return;
  const others = [...variants.children].filter((card) => !card.querySelector(".baseline").checked);
  const usual = {
    "/stopping_rule/variant": others[0]?.querySelector(".variant-name").value ?? "",
    "/stopping_rule/half_width": 0.2,
    "/stopping_rule/max_jobs": 5 * readSeeds(element("seeds").value).length * variants.children.length,
  };
  for (const [pointer, value] of Object.entries(usual)) {
    const field = stoppingRule.querySelector(`[data-pointer="${pointer}"]`);
    if (valueOf(field) === null) setValue(field, value);
  }
  changed();
});
stoppingRule.querySelector('[data-pointer="/stopping_rule/variant"] .value').setAttribute("list", "variant-names");

function changed() {
  for (const card of variants.children) settle(card);
  element("variant-names").replaceChildren(...[...variants.children].map((card) =>
    new Option(card.querySelector(".variant-name").value)));
  submission.changed();
}

element("preset").addEventListener("change", () => { startFrom(element("preset").value); changed(); });
element("add-variant").addEventListener("click", () => {
  addVariant().querySelector(".add-technique").focus();
  changed();
});
element("add-sweep").addEventListener("click", () => {
  const pointer = element("sweep-parameter").value;
  for (const text of element("sweep-values").value.split(/[\s,]+/).filter(Boolean)) {
    const changes = {};
    put(changes, pointer, text === "true" || text === "false" ? text === "true" : Number.isFinite(Number(text)) ? Number(text) : text);
    const [technique, parameter] = pointer.split("/").slice(2);
    addVariant({ name: `${technique.replaceAll("_", " ")} ${parameter} ${text}`, changes });
  }
  changed();
});
element("sweep-parameter").addEventListener("change", (event) => {
  element("sweep-values").value = event.target.selectedOptions[0].dataset.defaultText;
});
variants.addEventListener("change", (event) => {
  if (!event.target.matches(".add-technique") || !event.target.value) return;
  const chosen = addTechnique(event.target.closest(".variant"), event.target.value);
  event.target.value = "";
  chosen.querySelector(".value")?.focus();
  changed();
});
variants.addEventListener("click", (event) => {
  const action = event.target.dataset.action;
  const card = event.target.closest(".variant");
  if (action === "drop") event.target.closest("[data-technique]").remove();
  else if (action === "remove") {
    const next = card.nextElementSibling ?? card.previousElementSibling;
    const wasBaseline = card.querySelector(".baseline").checked;
    card.remove();
    if (wasBaseline && next) variants.querySelector(".baseline").checked = true;
    (next?.querySelector('[data-action="remove"]') ?? element("add-variant")).focus();
  } else if (action === "copy") {
    const { name, changes } = readVariant(card);
    addVariant({ name: `${name} (copy)`, changes }, { before: card.nextElementSibling });
  } else return;
  changed();
});
variants.addEventListener("input", (event) => {
  if (!event.target.matches(".variant-name")) return;
  if (event.target.value) delete event.target.dataset.usual;
  else event.target.dataset.usual = "";
}, { capture: true });

const [{ items: presets }, { items: datasets }] = await Promise.all([ask("/v1/presets"), ask("/v1/datasets")]);
open(BLANK);
const blank = readWhole();
const query = new URLSearchParams(location.search);
try {
  const { preset: name, ...overrides } = JSON.parse(query.get("spec") ?? "{}");
  startFrom(name ?? query.get("preset"), overrides);
  if (query.has("from")) open((await ask(`/v1/experiments/${encodeURIComponent(query.get("from"))}`)).spec);
} catch {
  // An address that somebody has mistyped, or an experiment that is gone: the form opens as it always does.
  startFrom(null);
}
showWhatCounts(form);
listen(form, changed);
changed();
