// Axes of an experiment as a form: for each a field of the specification and the values at which to train.

import { formatAxisValue } from "./points.js";

const MAX_AXES = 2;
const element = (id) => document.getElementById(id);
const [list, addButton, total] = ["axes", "add-axis", "axes-total"].map(element);

const getSelect = (row) => row.querySelector(".axis-field");
const getInput = (row) => row.querySelector(".axis-values");

// Invalid values are sent as text: the service explains what is wrong with them.
function parseValue(text, { kind, empty }) {
  if (kind === "numbers") return text === "none" ? [] : text.split("-").map(parseNumber);
  if (text === empty) return null;
  if (text === "true" || text === "false") return text === "true";
  return parseNumber(text);
}

const parseNumber = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : text);

function readValues(row) {
  // Values that text cannot express, such as null of a field without a name for it, are kept until they are edited.
  const { opened } = row;
  if (opened && opened.field === getSelect(row).value && opened.text === getInput(row).value) return opened.values;
  const { dataset } = getSelect(row).selectedOptions[0];
  return getInput(row).value.split(",").map((text) => text.trim()).filter(Boolean).map((text) => parseValue(text, dataset));
}

export const readAxes = () => [...list.children].map((row) => ({ field: getSelect(row).value, values: readValues(row) }));

export function fillAxes(axes) {
  list.replaceChildren();
  axes.forEach(addAxis);
}

let axisCount = 0;

function addAxis({ field, values } = {}) {
  const row = element("axis").content.firstElementChild.cloneNode(true);
  const select = getSelect(row);
  for (const [input, name] of [[select, "field"], [getInput(row), "values"]]) {
    input.id = `axis-${name}-${axisCount}`;
    input.parentElement.querySelector("label").htmlFor = input.id;
  }
  axisCount += 1;
  if (field && ![...select.options].some((option) => option.value === field)) select.add(new Option(field, field));
  const used = readAxes().map((axis) => axis.field);
  select.value = field ?? [...select.options].find((option) => !used.includes(option.value)).value;
  getInput(row).value = values?.map((value) => (Number.isInteger(value) ? value : formatAxisValue(field, value))).join(", ") ?? select.selectedOptions[0].dataset.suggestion;
  if (values) row.opened = { field, values, text: getInput(row).value };
  list.append(row);
  return row;
}

// What depends on the axes: whether another may be added, and the number of points.
export function updateAxes() {
  addButton.disabled = list.childElementCount >= MAX_AXES;
  addButton.title = addButton.disabled ? `An experiment has ${MAX_AXES} axes at most.` : "";
  const points = readAxes().reduce((product, { values }) => product * values.length, 1);
  total.textContent = list.childElementCount && points ? `Each variant is trained at ${points === 1 ? "1 point" : `${points} points`} with each seed.` : "";
}

// Calls `update` when an axis is added, removed or changes its field.
export function listenToAxes(update) {
  addButton.addEventListener("click", () => {
    getSelect(addAxis()).focus();
    update();
  });
  list.addEventListener("change", ({ target }) => {
    if (!target.matches(".axis-field")) return;
    getInput(target.closest(".axis")).value = target.selectedOptions[0].dataset.suggestion ?? "";
    update();
  });
  list.addEventListener("click", ({ target }) => {
    if (target.dataset.action !== "remove-axis") return;
    target.closest(".axis").remove();
    addButton.disabled = false;
    addButton.focus();
    update();
  });
}
