// The form for an experiment: variants, each a set of techniques, over a base and seeds.

import { requestJson } from "./api.js";
import { fillAxes, listenToAxes, readAxes, updateAxes } from "./axes.js";
import { createMergePatch, equal, fillFields, findTarget, getAt, getDefault, getValue, isObject, onChange, readFields,
  overlay, pickUncontrolled, setAt, setValue, updateVisibility } from "./controls.js";
import { formatCount, formatNumber, h } from "./elements.js";
import { readSeeds, writeSeeds } from "./seeds.js";
import { bytes, compact, seconds, Submission } from "./submission.js";

const element = (id) => document.getElementById(id);
const [form, base, rules, stoppingRule, variants] = ["new-experiment", "base", "rules", "stopping-rule", "variants"].map(element);
const BLANK = {
  name: "dropout or not",
  base: { dataset: { name: "mnist_5k" } },
  variants: [{ name: "none", changes: {} }, { name: "Dropout", changes: { regularization: { dropout: {} } } }],
  seeds: [0, 1, 2],
};

// ---- variants

let variantCount = 0;

// `rest`: what else a variant has, for which there is no control, such as what it tunes.
function addVariant({ name = "", changes = {}, ...rest } = {}, { isBaseline = false, before = null } = {}) {
  const card = element("variant").content.firstElementChild.cloneNode(true);
  card.dataset.index = ++variantCount;
  card.preserved = rest;
  const nameInput = card.querySelector(".variant-name");
  nameInput.value = name;
  card.querySelector(".baseline").checked = isBaseline;
  const { regularization = {}, ...others } = changes;
  const unknown = {};
  for (const [technique, parameters] of Object.entries(regularization)) {
    if (isObject(parameters) && element(`technique-${technique}`)) addTechnique(card, technique, parameters);
    else unknown[technique] = parameters;
  }
  if (Object.keys(unknown).length) others.regularization = unknown;
  if (Object.keys(others).length) {
    card.querySelector(".other-changes").value = JSON.stringify(others, null, 1);
    card.querySelector(".other").open = true;
  }
  variants.insertBefore(card, before);
  if (!name || name === generateName(card)) nameInput.dataset.generated = "";
  updateVariant(card);
  return card;
}

function addTechnique(card, technique, parameters = {}) {
  const chosen = element(`technique-${technique}`).content.firstElementChild.cloneNode(true);
  // Ids have to be unique among the copies.
  const prefix = `v${card.dataset.index}`;
  for (const labelled of chosen.querySelectorAll("[id], [for], [aria-describedby]"))
    for (const attribute of ["id", "for", "aria-describedby"])
      if (labelled.hasAttribute(attribute)) labelled.setAttribute(attribute, labelled.getAttribute(attribute).replace(/^v/, prefix));
  for (const field of chosen.querySelectorAll(".field")) {
    const value = parameters[field.dataset.pointer.split("/").at(-1)];
    setValue(field, value === undefined ? getDefault(field) : value);
  }
  card.querySelector(".variant-techniques").append(chosen);
  return chosen;
}

// Updates what depends on a variant's techniques: those left to add, and its name until the user enters one.
function updateVariant(card) {
  const used = new Set([...card.querySelectorAll("[data-technique]")].map(({ dataset }) => dataset.technique));
  for (const option of card.querySelectorAll(".add-technique option")) option.disabled = used.has(option.value);
  card.querySelector(".no-technique").hidden = used.size > 0 || card.querySelector(".other-changes").value.trim() !== "";
  const name = card.querySelector(".variant-name");
  if ("generated" in name.dataset) name.value = generateName(card);
}

function generateName(card) {
  const { regularization = {} } = readFields(card);
  const parts = Object.entries(regularization).map(([technique, parameters]) =>
    [card.querySelector(`[data-technique="${technique}"]`).dataset.title, ...Object.entries(parameters).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)].join(" "));
  return parts.join(" + ") || "none";
}

function readVariant(card) {
  const inBase = getAt(readFields(base), "/regularization") ?? {};
  const changes = readFields(card, (technique) => technique in inBase);
  const text = card.querySelector(".other-changes").value.trim();
  const others = card.querySelector(".other");
  const errorLine = others.querySelector(".field-error");
  errorLine.hidden = true;
  if (text) {
    try {
      const patch = JSON.parse(text);
      changes.regularization = { ...patch.regularization, ...changes.regularization };
      if (!Object.keys(changes.regularization).length) delete changes.regularization;
      Object.assign(changes, { ...patch, ...(changes.regularization && { regularization: changes.regularization }) });
    } catch (error) {
      errorLine.hidden = false;
      errorLine.textContent = `Not valid JSON: ${error.message}`;
    }
  }
  return { ...card.preserved, name: card.querySelector(".variant-name").value, changes };
}

// ---- the whole document

let preserved = {};
let preset = null;

function openDocument(experiment) {
  const { name, base: baseSpec = {}, variants: items = [], seeds = [0], replicates, baseline, axes = [], ...rest } = experiment;
  // A copy confirms nothing by itself.
  const { confirms, ...others } = rest;
  preserved = { base: pickUncontrolled(base, baseSpec), ...pickUncontrolled(form, others) };
  setValue(nameField, name ?? "");
  element("seeds").value = writeSeeds(replicates ? Array.from({ length: replicates }, (_, index) => index) : seeds);
  fillFields(base, baseSpec);
  fillAxes(axes);
  fillFields(rules, rest);
  fillFields(stoppingRule, rest);
  variants.replaceChildren();
  items.forEach((variant, index) =>
    addVariant(variant, { isBaseline: baseline ? variant.name === baseline : index === 0 }));
}

const nameField = document.querySelector('.field[data-pointer="/name"]');

function readDocument() {
  const cards = [...variants.children];
  const document = {
    name: getValue(nameField) ?? "",
    base: readFields(base),
    variants: cards.map(readVariant),
    seeds: readSeeds(element("seeds").value),
    ...readFields(rules),
    ...readFields(stoppingRule),
  };
  const axes = readAxes();
  if (axes.length) document.axes = axes;
  const baseline = cards.findIndex((card) => card.querySelector(".baseline").checked);
  if (baseline > 0) document.baseline = document.variants[baseline].name;
  return overlay(preserved, document);
}

// What is posted: a preset and a merge patch on it, or the whole document.
function buildBody() {
  const document = readDocument();
  return preset === null ? document : { preset: preset.name, ...createMergePatch(preset.document, document) };
}

function applyMergePatch(target, patch) {
  if (!isObject(patch)) return patch;
  const result = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = applyMergePatch(result[name], value);
  }
  return result;
}

function startFrom(name, overrides = {}) {
  const selected = presets.find((item) => item.name === name);
  const cards = [...element("presets").querySelectorAll(".preset")];
  const card = cards.find(({ dataset }) => dataset.preset === (selected ? name : ""));
  for (const item of cards) item.setAttribute("aria-pressed", String(item === card));
  const box = card.closest("details");
  if (box) box.open = true;
  showSize("full");
  openDocument(selected ? selected.document : BLANK);
  preset = selected ? { name, document: readDocument() } : null;
  if (Object.keys(overrides).length) openDocument(applyMergePatch(selected ? selected.document : {}, overrides));
  const replacement = overrides.base?.dataset?.name ? "" : replaceMissingDataset();
  element("preset-help").textContent = selected ? `Expected result: ${card.dataset.expect}${replacement}` : replacement;
}

// Replaces a dataset that would have to be downloaded first.
function replaceMissingDataset() {
  const field = base.querySelector('.field[data-pointer="/dataset/name"]');
  const requested = getValue(field);
  const available = datasets.filter((dataset) => dataset.available).map((dataset) => dataset.name);
  if (available.includes(requested) || !available.length) return "";
  setValue(field, available[0]);
  return ` ${requested} is not on this machine; ${available[0]} is selected instead.`;
}

// ---- the size: small makes any question one of seconds, full restores what it changed

const SMALL = { "/dataset/name": "mnist_5k", "/dataset/train_samples": null, "/training/epochs": 5, "/model/hidden_units": [128] };
const SMALL_SEEDS = "0-5";
let full = null;

const findFields = (pointer) => [...base.querySelectorAll(`.field[data-pointer="${pointer}"]`)];

function showSize(size) {
  if (size === "full") full = null;
  for (const button of document.querySelectorAll(".size button")) button.setAttribute("aria-pressed", String(button.dataset.size === size));
}

function setSize(size) {
  const values = size === "small" ? SMALL : full.values;
  const seedsInput = element("seeds");
  const before = { seeds: seedsInput.value, values: Object.fromEntries(Object.keys(SMALL).map((pointer) => [pointer, getValue(findFields(pointer)[0])])) };
  seedsInput.value = size === "small" ? SMALL_SEEDS : full.seeds;
  for (const [pointer, value] of Object.entries(values)) for (const field of findFields(pointer)) setValue(field, value);
  showSize(size);
  if (size === "small") full = before;
  updateVisibility(form);
  update();
}

// ---- what is folded, and the table of variants

function describeBase() {
  const get = (pointer) => getValue(findFields(pointer).find((field) => !field.closest("[hidden]")) ?? findFields(pointer)[0]);
  const [samples, layers] = [get("/dataset/train_samples"), get("/model/hidden_units")];
  const techniques = [...base.querySelectorAll("[data-technique]")].filter((item) => item.querySelector(".switch").checked).map(({ dataset }) => dataset.title);
  element("base-summary").textContent = [
    samples === null ? get("/dataset/name") : `${samples} examples of ${get("/dataset/name")}`,
    `${get("/model/family")} ${layers.join("-") || "without hidden layers"}`,
    `${get("/training/optimizer/name")} ${get("/training/optimizer/learning_rate")}`,
    formatCount(get("/training/epochs"), "epoch"), ...techniques,
  ].join(" · ");
}

// A column for each technique that a variant has, in the order in which they appear.
function alignVariants() {
  const chosen = [...variants.querySelectorAll("[data-technique]")];
  const names = [...new Set(chosen.map(({ dataset }) => dataset.technique))];
  for (const item of chosen) item.style.setProperty("--column", names.indexOf(item.dataset.technique) + 2);
  element("variant-table").style.setProperty("--columns", Math.max(names.length, 1));
  const titles = names.map((name) => chosen.find(({ dataset }) => dataset.technique === name).querySelector("b").textContent);
  element("variant-header").replaceChildren(...["Variant", ...titles].map((title) => h("span", {}, title)));
}

// ---- the page

const submission = new Submission({
  form,
  path: "/v1/experiments",
  read: buildBody,
  describe: (cost) => [
    ["Jobs", cost.reused ? `${formatNumber(cost.jobs)}, of which ${formatNumber(cost.reused)} have been trained before` : formatNumber(cost.jobs)],
    ["Time here", cost.to_train ? seconds(cost.estimated_seconds) : "none: all jobs have been trained before"],
    ...(cost.max_jobs > cost.jobs ? [["At most", `${formatNumber(cost.max_jobs)} jobs${cost.max_seconds === null ? "" : `, ${seconds(cost.max_seconds)}`}`]] : []),
    ["Memory of the largest job", bytes(cost.memory_bytes)],
    ["Weights to train", formatWeights(Object.values(cost.parameters))],
    ...(cost.detectable ? [["Detectable difference", formatDetectable(cost.detectable)]] : []),
  ],
  resolve(pointer) {
    const [, part, index, ...rest] = pointer.split("/");
    if (part === "base") return [base, pointer.slice("/base".length)];
    const axis = part === "axes" ? element("axes").children[Number(index)] : undefined;
    if (axis) return [axis, `/${rest.join("/")}`];
    const card = part === "variants" ? variants.children[Number(index)] : undefined;
    if (!card) return [form, pointer];
    const inner = `/${rest.slice(rest[0] === "changes" ? 1 : 0).join("/")}`;
    return findTarget(card, inner) ? [card, inner] : [card, "/changes"];
  },
  page: (experiment) => `/experiments/${experiment.id}`,
  query(posted) {
    if (equal(posted, { preset: preset?.name })) return `?${new URLSearchParams(posted)}`;
    return equal(posted, blank) ? "" : `?${new URLSearchParams({ spec: JSON.stringify(posted) })}`;
  },
});

function formatWeights(counts) {
  const [minimum, maximum] = [Math.min(...counts), Math.max(...counts)];
  return minimum === maximum ? formatNumber(minimum) : `${compact(minimum)} to ${compact(maximum)}`;
}

const formatDetectable = ({ pairs, accuracy_points: points, effect_size: effectSize }) =>
  points === null
    ? `${formatCount(pairs, "seed")}: a difference of ${effectSize.toFixed(1)} standard deviations or more, with 80% power`
    : `${formatCount(pairs, "seed")}: a difference of ${points.toFixed(2)} points of accuracy or more, with 80% power`;

// Defaults of the stopping rule, once it is switched on.
stoppingRule.querySelector(".switch").addEventListener("change", ({ target }) => {
  if (!target.checked) return;
  const others = [...variants.children].filter((card) => !card.querySelector(".baseline").checked);
  const defaults = {
    "/stopping_rule/variant": others[0]?.querySelector(".variant-name").value ?? "",
    "/stopping_rule/half_width": 0.2,
    "/stopping_rule/max_jobs": 5 * readSeeds(element("seeds").value).length * variants.children.length,
  };
  for (const [pointer, value] of Object.entries(defaults)) {
    const field = stoppingRule.querySelector(`[data-pointer="${pointer}"]`);
    if (getValue(field) === null) setValue(field, value);
  }
  update();
});
stoppingRule.querySelector('[data-pointer="/stopping_rule/variant"] .value').setAttribute("list", "variant-names");

function update() {
  for (const card of variants.children) updateVariant(card);
  element("variant-names").replaceChildren(...[...variants.children].map((card) =>
    new Option(card.querySelector(".variant-name").value)));
  updateAxes();
  describeBase();
  alignVariants();
  submission.update();
}

element("presets").addEventListener("click", ({ target }) => {
  const card = target.closest(".preset");
  if (!card) return;
  startFrom(card.dataset.preset);
  update();
});
document.querySelector(".size").addEventListener("click", ({ target }) => {
  if (target.dataset.size && target.getAttribute("aria-pressed") === "false") setSize(target.dataset.size);
});
element("add-variant").addEventListener("click", () => {
  addVariant().querySelector(".add-technique").focus();
  update();
});
element("add-sweep").addEventListener("click", () => {
  const pointer = element("sweep-parameter").value;
  for (const text of element("sweep-values").value.split(/[\s,]+/).filter(Boolean)) {
    const changes = {};
    setAt(changes, pointer, text === "true" || text === "false" ? text === "true" : Number.isFinite(Number(text)) ? Number(text) : text);
    addVariant({ name: `${element("sweep-parameter").selectedOptions[0].text} ${text}`, changes });
  }
  update();
});
element("sweep-parameter").addEventListener("change", (event) => {
  element("sweep-values").value = event.target.selectedOptions[0].dataset.defaultText;
});
listenToAxes(update);
variants.addEventListener("change", (event) => {
  if (!event.target.matches(".add-technique") || !event.target.value) return;
  const chosen = addTechnique(event.target.closest(".variant"), event.target.value);
  event.target.value = "";
  chosen.querySelector(".value")?.focus();
  update();
});
variants.addEventListener("click", (event) => {
  const action = event.target.dataset.action;
  const card = event.target.closest(".variant");
  if (action === "leave-out") event.target.closest("[data-technique]").remove();
  else if (action === "remove") {
    const next = card.nextElementSibling ?? card.previousElementSibling;
    const wasBaseline = card.querySelector(".baseline").checked;
    card.remove();
    if (wasBaseline && next) variants.querySelector(".baseline").checked = true;
    (next?.querySelector('[data-action="remove"]') ?? element("add-variant")).focus();
  } else if (action === "copy") {
    const { name, ...others } = readVariant(card);
    addVariant({ ...others, name: `${name} (copy)` }, { before: card.nextElementSibling });
  } else return;
  update();
});
variants.addEventListener("input", (event) => {
  if (!event.target.matches(".variant-name")) return;
  if (event.target.value) delete event.target.dataset.generated;
  else event.target.dataset.generated = "";
}, { capture: true });

const [{ items: presets }, { items: datasets }] = await Promise.all([requestJson("/v1/presets"), requestJson("/v1/datasets")]);
openDocument(BLANK);
const blank = readDocument();
const query = new URLSearchParams(location.search);
try {
  const { preset: name, ...overrides } = JSON.parse(query.get("spec") ?? "{}");
  startFrom(name ?? query.get("preset"), overrides);
  if (query.has("from")) openDocument((await requestJson(`/v1/experiments/${encodeURIComponent(query.get("from"))}`)).spec);
} catch {
  // An invalid address or a deleted experiment: the form opens with its defaults.
  startFrom(null);
}
updateVisibility(form);
onChange(form, update);
update();
