// Points of an experiment's axes in words, as models/run_key.py has them.

import { formatNumber } from "./elements.js";

// What the values of these fields count, said after them.
const UNITS = { "/dataset/train_samples": "training examples", "/training/epochs": "epochs" };

// Of the techniques, as the experiment's page has them.
const TITLES = JSON.parse(document.getElementById("report-view")?.dataset.techniques ?? "{}");

export function nameAxis(field) {
  if (UNITS[field]) return UNITS[field];
  const path = field.replace(/\/name$/, "").split("/");
  const name = path.pop();
  return `${path.includes("regularization") && TITLES[path.at(-1)] ? `${TITLES[path.at(-1)]} ` : ""}${name}`.replaceAll("_", " ");
}

// Layers are written as 512-512, null as what it stands for.
export function formatAxisValue(field, value) {
  if (Number.isInteger(value)) return formatNumber(value);
  if (value === null) return field.endsWith("_samples") ? "all" : "none";
  if (Array.isArray(value)) return value.join("-") || "none";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// A value that tuning tries: three significant digits at most, small ones as 1e-06.
export function formatTunedValue(field, value) {
  if (typeof value !== "number" || Number.isInteger(value)) return formatAxisValue(field, value);
  const rounded = Number(value.toPrecision(3));
  // A momentum of 0.9998 is not 1.
  if (Math.abs(value) < 1 && Math.abs(rounded) === 1) return String(value);
  return Math.abs(rounded) < 1e-4 ? rounded.toExponential().replace(/-(\d)$/, "-0$1") : formatAxisValue(field, rounded);
}

// What a table has of a point: the headings of its columns, and their cells.
export const getPointHeads = (report) => report.axes.map(({ title }) => title);
export const getPointCells = (point) => Object.entries(point ?? {}).map(([field, value]) => formatAxisValue(field, value));

export const describePoint = (point) => Object.entries(point ?? {}).map(([field, raw]) => {
  const value = formatAxisValue(field, raw);
  if (!UNITS[field]) return `${nameAxis(field)} ${value}`;
  return `${value} ${value === "1" ? UNITS[field].slice(0, -1) : UNITS[field]}`;
}).join(", ");
