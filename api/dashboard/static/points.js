// Points of an experiment's axes in words, as models/run_key.py has them.

export function nameAxis(field) {
  const names = field.replace(/\/name$/, "").split("/");
  return names.slice(names.includes("regularization") ? -2 : -1).join(" ").replaceAll("_", " ");
}

// Layers are written as 512-512, null as what it stands for.
export function formatAxisValue(field, value) {
  if (value === null) return field.endsWith("_samples") ? "all" : "none";
  if (Array.isArray(value)) return value.map((item) => formatAxisValue(field, item)).join("-") || "none";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// What a table has of a point: the headings of its columns, and their cells.
export const getPointHeads = (report) => report.axes.map(({ title }) => title);
export const getPointCells = (point) => Object.entries(point ?? {}).map(([field, value]) => formatAxisValue(field, value));

export const describePoint = (point) => Object.entries(point ?? {})
  .map(([field, value]) => `${nameAxis(field)} ${formatAxisValue(field, value)}`).join(", ");
