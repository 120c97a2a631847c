// Forms for a specification (api/dashboard/forms.py): reads a document from the fields, fills them from one,
// and shows errors at the fields that they point to.

const splitPointer = (pointer) =>
  pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));

export function getAt(document, pointer) {
  return splitPointer(pointer).reduce((value, part) => value?.[part], document);
}

export function setAt(document, pointer, value) {
  const parts = splitPointer(pointer);
  const last = parts.pop();
  const parent = parts.reduce((object, part) => (object[part] ??= {}), document);
  parent[last] = value;
}

export const equal = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// The JSON merge patch (RFC 7396) that turns `from` into `to`.
export function createMergePatch(from, to) {
  const patch = {};
  for (const name of new Set([...Object.keys(from), ...Object.keys(to)])) {
    if (!(name in to)) patch[name] = null;
    else if (isObject(from[name]) && isObject(to[name])) {
      const nested = createMergePatch(from[name], to[name]);
      if (Object.keys(nested).length) patch[name] = nested;
    } else if (!equal(from[name], to[name])) patch[name] = to[name];
  }
  return patch;
}

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// ---- one field

const getInput = (field) => field.querySelector(".value");
export const getDefault = (field) => JSON.parse(field.dataset.default);

// Invalid numbers are sent as text: the service explains what is wrong with them.
const parseNumber = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);

export function getValue(field) {
  const input = getInput(field);
  const text = input.value.trim();
  switch (field.dataset.kind) {
    case "boolean": return input.checked;
    case "numbers": return text.split(/[\s,]+/).filter(Boolean).map(parseNumber);
    case "number": case "integer": return text === "" ? null : parseNumber(text);
    case "choice": return typeof getDefault(field) === "number" ? Number(text) : text;
    default: return text === "" ? null : text;
  }
}

export function setValue(field, value) {
  const input = getInput(field);
  if (field.dataset.kind === "boolean") input.checked = value;
  else input.value = Array.isArray(value) ? value.join(", ") : value === null ? "" : formatValue(value);
  updateSlider(field);
}

const formatValue = (value) => (typeof value === "number" ? Number(value.toPrecision(10)).toString() : value);

// ---- sliders: each sets the number field beside it, which has the value

const toPosition = (slider, value) => {
  if (slider.dataset.scale !== "log") return value;
  const [minimum, maximum] = [Number(slider.dataset.minimum), Number(slider.dataset.maximum)];
  if (!(value > 0)) return 0;
  return (Math.log(value / minimum) / Math.log(maximum / minimum)) * 1000;
};

const fromPosition = (slider, integer) => {
  const position = Number(slider.value);
  if (slider.dataset.scale !== "log") return position;
  const [minimum, maximum] = [Number(slider.dataset.minimum), Number(slider.dataset.maximum)];
  const value = minimum * (maximum / minimum) ** (position / 1000);
  return integer ? Math.round(value) : Number(value.toPrecision(2));
};

function updateSlider(field) {
  const slider = field.querySelector(".slider");
  if (!slider) return;
  const value = getValue(field);
  slider.value = typeof value === "number" ? toPosition(slider, value) : 0;
  slider.setAttribute("aria-valuetext", getInput(field).value || "empty");
}

function updateField(field) {
  const slider = field.querySelector(".slider");
  getInput(field).value = formatValue(fromPosition(slider, field.dataset.kind === "integer"));
  slider.setAttribute("aria-valuetext", getInput(field).value);
}

// ---- a whole form

const getFields = (scope) => [...scope.querySelectorAll(".field[data-kind]")];
const getTechnique = (field) => field.closest("[data-technique]");
const isOn = (card) => card.querySelector(".switch")?.checked ?? true;
const isInactive = (field) => {
  const card = getTechnique(field);
  return field.closest("[data-when][hidden]") !== null || (card !== null && !isOn(card));
};

// Shows groups of fields only while another field has a certain value, and techniques' fields while they are on.
export function updateVisibility(scope) {
  for (const group of scope.querySelectorAll("[data-when]")) {
    const [pointer, value] = group.dataset.when.split("=");
    const condition = scope.querySelector(`.field[data-pointer="${pointer}"]`);
    group.hidden = String(getValue(condition)) !== value;
  }
  for (const card of scope.querySelectorAll("[data-technique]")) {
    const body = card.querySelector(".technique-controls");
    if (body && card.querySelector(".switch")) body.hidden = !isOn(card);
    card.classList.toggle("on", isOn(card));
  }
}

// The document of the fields without default values, which it contains only for techniques with
// `includesDefaults(name)`.
export function readFields(scope, includesDefaults = () => false) {
  const document = {};
  for (const card of scope.querySelectorAll("[data-technique]"))
    if (isOn(card)) setAt(document, card.dataset.pointer, {});
  for (const field of getFields(scope)) {
    if (isInactive(field)) continue;
    const value = getValue(field);
    const card = getTechnique(field);
    const included = card !== null && includesDefaults(card.dataset.technique);
    if (included || !equal(value, getDefault(field))) setAt(document, field.dataset.pointer, value);
  }
  return document;
}

export function fillFields(scope, document) {
  for (const card of scope.querySelectorAll("[data-technique]")) {
    const control = card.querySelector(".switch");
    if (control) control.checked = isObject(getAt(document, card.dataset.pointer));
  }
  for (const field of getFields(scope)) {
    const value = getAt(document, field.dataset.pointer);
    setValue(field, value === undefined ? getDefault(field) : value);
  }
  updateVisibility(scope);
}

// The parts of a document that the form has no control for, which are submitted unchanged.
export function pickUncontrolled(scope, document, under = "") {
  const rest = {};
  for (const [name, value] of Object.entries(document)) {
    const pointer = `${under}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const find = (operator, end) => scope.querySelector(`[data-pointer${operator}"${CSS.escape(pointer)}${end}"]`);
    if (find("=", "") && !isObject(value)) continue;
    const isPartly = isObject(value) && (find("=", "") || find("^=", "/"));
    const nested = isPartly ? pickUncontrolled(scope, value, pointer) : value;
    if (!isPartly || Object.keys(nested).length) rest[name] = nested;
  }
  return rest;
}

// What the form has, over what it has no control for.
export function overlay(preserved, document) {
  const result = { ...preserved };
  for (const [name, value] of Object.entries(document))
    result[name] = isObject(value) && isObject(result[name]) ? overlay(result[name], value) : value;
  return result;
}

// Sets sliders and visibility to match the initial values.
export function initialize(scope) {
  getFields(scope).forEach(updateSlider);
  updateVisibility(scope);
}

// Calls `callback` whenever the form changes.
export function onChange(form, callback) {
  form.addEventListener("input", (event) => {
    const field = event.target.closest(".field[data-kind]");
    if (field) event.target.matches(".slider") ? updateField(field) : updateSlider(field);
    updateVisibility(form);
    callback();
  });
}

// ---- errors

function isValid(field) {
  const [value, { kind, minimum, maximum }] = [getValue(field), field.dataset];
  let error = "";
  if (typeof value === "string" && ["number", "integer"].includes(kind)) error = "Input should be a valid number";
  else if (kind === "integer" && value !== null && !Number.isInteger(value)) error = "Input should be a valid integer";
  else if (value !== null && value < Number(minimum)) error = `Input should be greater than or equal to ${minimum}`;
  else if (value !== null && value > Number(maximum)) error = `Input should be less than or equal to ${maximum}`;
  getInput(field).setCustomValidity(error);
  return getInput(field).checkValidity();
}

// The errors that can be detected without the service.
export const validate = (form) => getFields(form).filter((field) => !isInactive(field) && !isValid(field))
  .map((target) => ({ target, pointer: target.dataset.pointer, detail: getInput(target).validationMessage }));

export function clearErrors(form) {
  for (const error of form.querySelectorAll(".field-error")) {
    error.hidden = true;
    error.textContent = "";
  }
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

// The element that shows an error: the active field of `pointer` within `scope`, or the nearest one around it.
export function findTarget(scope, pointer) {
  for (let prefix = pointer; prefix !== ""; prefix = prefix.slice(0, prefix.lastIndexOf("/"))) {
    const target = [...scope.querySelectorAll("[data-pointer]")].find((element) =>
      element.dataset.pointer === prefix && element.closest("[data-when][hidden]") === null);
    if (target) return target;
  }
  return null;
}

export function showError(target, detail) {
  const line = target.querySelector(".field-error");
  line.hidden = false;
  line.textContent = line.textContent ? `${line.textContent}; ${detail}` : detail;
  const input = target.querySelector(".value, .switch");
  input?.setAttribute("aria-invalid", "true");
  return input;
}
