// Differences from the baseline as a table of intervals: a row for each variant, a column for each measure.

import { h, s } from "./elements.js";
import { saveCsv } from "./export.js";
import { buildSaveButton, chooseInterval, getOutcome } from "./measures.js";
import { chooseDigits, chooseIntervalDigits, formatSigned } from "./numbers.js";
import { describePoint, formatAxisValue, getPointCells, getPointHeads, nameAxis } from "./points.js";
import { buildTermLinker } from "./terms.js";

const [WIDTH, HEIGHT] = [220, 26];
const REACH_IN_MEANS = 2;
const REACH_IN_MEDIANS = 6;
const openRows = new Set();

// `measures`: of measures.js; `select(name)` is called with another baseline.
export function buildForest(report, measures, select) {
  const columns = measures.map((measure) => {
    const differences = report.contrasts.map((contrast) => chooseInterval(contrast.differences?.[measure.name]));
    return { ...measure, differences, reach: computeReach(differences.filter(Boolean), measure) };
  }).filter(({ differences }) => differences.some(Boolean));
  const untested = columns.filter(({ differences }) => !differences.some((difference) => difference?.tested));
  const link = buildTermLinker(document.getElementById("report-view"));
  const names = [...new Set(report.variants.map(({ name }) => name))];
  return h("section", { "aria-labelledby": "differences-title" },
    h("div", { class: "title-line" },
      h("h2", { id: "differences-title" }, "Differences from ", h("q", {}, report.baseline)),
      h("label", {}, "Compare with ", h("select", { id: "baseline", autocomplete: "off", onchange: ({ target }) => select(target.value) },
        names.map((name) => h("option", { value: name, selected: name === report.baseline }, name))))),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "differences-title", tabindex: 0 },
      h("table", { class: "forest" },
        h("thead", {}, h("tr", {},
          h("th", { scope: "col" }, "Variant"),
          getPointHeads(report).map((title) => h("th", { scope: "col", class: "number" }, link(title))),
          columns.map((column) => h("th", { scope: "col", class: "forest-head" }, link(`${column.title}, ${column.unit}`), buildAxis(column))),
          h("th", { scope: "col", class: "number" }, link("Pairs")))),
        h("tbody", {}, report.contrasts.flatMap((contrast, index) => buildRows(contrast, index, columns))))),
    h("p", { class: "help" },
      link("Mean difference over the seeds that both have finished. Filled: called higher or lower. Hollow: not called. "),
      untested.length > 0 && `Not tested, so never called: ${untested.map(({ title }) => title.toLowerCase()).join(", ")}. `,
      columns.some((column) => column.differences.some((difference) => difference?.equivalence)) ? link("Shaded: practically equal. ") : "",
      link(`Intervals of tested measures hold for all tests of this report together at ${Number((100 * (1 - report.level)).toFixed(2))} %, `
      + "of the others each for itself at 95 %. "
      + "Arrow: the interval extends beyond the chart. Choose a variant for its verdict.")),
    buildSaveButton("save-differences", () => saveCsv("differences.csv", formatDifferences(report, columns))));
}

function formatDifferences(report, columns) {
  const lines = [["variant", ...getPointHeads(report), "pairs", ...columns.flatMap(({ title, unit }) => [`${title}, ${unit}`, `${title}, low`, `${title}, high`, `${title}, verdict`])]];
  for (const [index, { variant, point, seeds }] of report.contrasts.entries()) {
    lines.push([variant, ...getPointCells(point), String(seeds.length), ...columns.flatMap(({ differences, digits }) => {
      const { mean = null, low = null, high = null, call = null } = differences[index] ?? {};
      const places = chooseIntervalDigits(mean, [low, high], digits);
      return [...[mean, low, high].map((value) => (value === null ? "" : value.toFixed(places))), call ?? "not called"];
    })]);
  }
  return lines;
}

// The end of the axis on each side of 0: it contains every mean, and every interval unless one is so wide that it would
// flatten the others.
function computeReach(differences, { limit }) {
  const ends = differences.map(({ mean, low, high }) => Math.max(Math.abs(low ?? mean), Math.abs(high ?? mean)))
    .filter(Boolean).sort((one, other) => one - other);
  if (!ends.length) return 1;
  const median = ends[Math.floor((ends.length - 1) / 2)];
  const means = differences.map(({ mean }) => REACH_IN_MEANS * Math.abs(mean));
  return Math.min(1.1 * Math.min(ends.at(-1), Math.max(REACH_IN_MEDIANS * median, ...means)), limit);
}

const toX = (value, reach) => WIDTH / 2 + (clamp(value, reach) / reach) * (WIDTH / 2 - 6);
const clamp = (value, reach) => Math.min(Math.max(value, -reach), reach);

function buildAxis({ reach, better, digits: fewest }) {
  const digits = chooseDigits([reach], fewest);
  const [left, right] = better === "lower" ? ["better", "worse"] : ["worse", "better"];
  return s("svg", { class: "forest-axis", viewBox: `0 0 ${WIDTH} 30`, role: "img",
    "aria-label": `From ${formatSigned(-reach, digits)} to ${formatSigned(reach, digits)}; ${left} to the left` },
    s("text", { x: 0, y: 12 }, `\u2190 ${left}`),
    s("text", { x: WIDTH, y: 12, "text-anchor": "end" }, `${right} \u2192`),
    s("text", { x: 0, y: 27 }, formatSigned(-reach, digits)),
    s("text", { x: WIDTH / 2, y: 27, "text-anchor": "middle" }, "0"),
    s("text", { x: WIDTH, y: 27, "text-anchor": "end" }, formatSigned(reach, digits)));
}

// A variant's row, and one with its verdict that is shown when the variant is chosen.
function buildRows(contrast, index, columns) {
  const key = JSON.stringify([contrast.variant, contrast.point]);
  const details = h("tr", { class: "verdict", id: `verdict-${index}`, hidden: !openRows.has(key) },
    h("td", { colspan: 2 + Object.keys(contrast.point ?? {}).length + columns.length }, contrast.verdict));
  const name = [contrast.variant, describePoint(contrast.point)].filter(Boolean).join(", ");
  const toggle = () => {
    if (!openRows.delete(key)) openRows.add(key);
    details.hidden = !openRows.has(key);
    button.setAttribute("aria-expanded", String(!details.hidden));
  };
  const button = h("button", { type: "button", class: "link", id: `contrast-${index}`, "aria-expanded": String(openRows.has(key)), "aria-controls": details.id, "aria-label": `${name}: verdict` }, contrast.variant);
  return [h("tr", { class: "contrast", onclick: toggle },
    h("th", { scope: "row" }, button),
    Object.entries(contrast.point ?? {}).map(([field, value]) =>
      h("td", { class: "number", "data-label": nameAxis(field) }, formatAxisValue(field, value))),
    columns.map((column) => buildCell(column.differences[index], column)),
    h("td", { class: "number", "data-label": "Pairs" }, String(contrast.seeds.length))), details];
}

function buildCell(difference, column) {
  const label = `${column.title}, ${column.unit}`;
  if (!difference) return h("td", { "data-label": label }, "no pair");
  const { mean, low, high } = difference;
  const digits = chooseIntervalDigits(mean, [low, high], column.digits);
  return h("td", { "data-label": label }, buildInterval(difference, column), h("b", {}, formatSigned(mean, digits)),
    low === null ? null : h("small", {}, ` ${formatSigned(low, digits)} to ${formatSigned(high, digits)}`),
    h("span", { class: "visually-hidden" }, difference.call ? ` called ${difference.call}` : " not called", describeCut(difference, column)));
}

function buildInterval(difference, { reach, ...measure }) {
  const { mean, low, high, equivalence } = difference;
  const x = toX(mean, reach);
  const whiskers = low === null ? [] : [
    s("line", { x1: toX(low, reach), x2: toX(high, reach), y1: 13, y2: 13 }),
    buildEnd(toX(low, reach), low < -reach ? 6 : 0),
    buildEnd(toX(high, reach), high > reach ? -6 : 0),
  ];
  const zone = equivalence && [-1, 1].map((side) => toX(side * equivalence.margin, reach));
  return s("svg", { class: `forest-row ${getOutcome(difference, measure)}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" },
    zone && s("rect", { class: "zone", x: zone[0], width: zone[1] - zone[0], y: 0, height: HEIGHT }),
    s("line", { class: "zero", x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: HEIGHT }),
    whiskers,
    s("rect", { class: "mean", x: x - 4.5, y: 8.5, width: 9, height: 9 }));
}

// The end of an interval, drawn as an arrow of length `barb` if the interval extends beyond the chart.
const buildEnd = (x, barb) => s("polyline", { points: `${x + barb},8 ${x},13 ${x + barb},18`, class: barb ? "cut" : "end" });

function describeCut({ low, high }, { reach }) {
  const sides = [low < -reach && "left", high > reach && "right"].filter(Boolean);
  return sides.length > 0 && ` The interval extends beyond the chart to the ${sides.join(" and the ")}.`;
}
