// What a report (GET /v1/experiments/{id}/report) says, as elements: differences, verdicts, what to choose.

import { h, s } from "./elements.js";
import { saveCsv } from "./export.js";

const METRICS = [
  { name: "test_accuracy_points", title: "Test accuracy", unit: "points", digits: 2, better: "higher", most: 100 },
  { name: "test_loss", title: "Test loss", unit: "nats", digits: 4, better: "lower" },
  { name: "generalization_gap_loss", title: "Gap in loss", unit: "nats", digits: 4, better: "lower" },
  { name: "generalization_gap_accuracy_points", title: "Gap in accuracy", unit: "points", digits: 2, better: "lower" },
];

export function findings(report, metric, choose) {
  const parts = [];
  if (report.contrasts.length) parts.push(differences(report, metric, choose));
  if (report.recommendation.length) parts.push(recommendation(report));
  if (report.variants.some((variant) => variant.metrics)) parts.push(table(report));
  if (report.notes.length) parts.push(notes(report));
  return parts;
}

// ---- differences from the baseline: a forest plot, row by row beside its numbers

const signed = (value, digits) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(digits);

function differences(report, chosen, choose) {
  const metric = METRICS.find((each) => each.name === chosen) ?? METRICS[0];
  const found = report.contrasts.map((contrast) => contrast.differences?.[metric.name] ?? null);
  const reach = reachOf(found.filter(Boolean), metric);
  return h("section", { "aria-labelledby": "differences-title" },
    h("h2", { id: "differences-title" }, "Differences from ", h("q", {}, report.baseline)),
    h("div", { class: "tabs", role: "group", "aria-label": "Metric" },
      METRICS.map((each) => h("button", {
        type: "button", id: `metric-${each.name}`, "aria-pressed": String(each === metric),
        onclick: () => choose(each.name),
      }, each.title))),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "differences-title", tabindex: 0 },
      h("table", { class: "forest" },
        h("thead", {}, h("tr", {},
          h("th", { scope: "col" }, "Variant"),
          h("th", { scope: "col", class: "number" }, `Difference, ${metric.unit}`),
          h("th", { scope: "col", class: "forest-head" }, axis(reach, metric)),
          h("th", { scope: "col", class: "number" }, "Pairs"))),
        h("tbody", {}, report.contrasts.map((contrast, index) => row(contrast, found[index], reach, metric))))),
    h("p", { class: "help" },
      `Mean difference over seeds that both have finished, with its 95 % interval; ${metric.better} is better. `,
      "Filled: the verdict below calls it. Hollow: it leaves it open, wherever the interval lies. ",
      "An arrow: the interval goes on beyond the chart."),
    saving("save-differences", () => saveCsv(`differences-${metric.name}.csv`, differenceLines(report, metric))),
    h("h3", {}, "In words"),
    h("dl", { class: "verdicts" }, report.contrasts.flatMap((contrast) =>
      [h("dt", {}, contrast.variant), h("dd", {}, contrast.verdict)])));
}

const saving = (id, save) => h("p", {}, h("button", { type: "button", id, onclick: save }, "Save as CSV"));

function differenceLines(report, { name, unit, digits }) {
  const lines = [["variant", `difference, ${unit}`, "low", "high", "called", "pairs"]];
  for (const { variant, differences: found } of report.contrasts) {
    const { mean = null, low = null, high = null, call = null, n = 0 } = found?.[name] ?? {};
    const numbers = [mean, low, high].map((value) => (value === null ? "" : value.toFixed(digits)));
    lines.push([variant, ...numbers, call ?? "open", String(n)]);
  }
  return lines;
}

const MEANS = 2;

// How far the axis goes to each side of 0: every mean is on it and half of the intervals are whole, but one that two
// seeds have made very wide does not flatten the others.
function reachOf(found, { most = Infinity }) {
  if (!found.length) return 1;
  const ends = found.map((each) => Math.max(Math.abs(each.low ?? each.mean), Math.abs(each.high ?? each.mean)))
    .sort((one, other) => one - other);
  const median = ends[Math.floor((ends.length - 1) / 2)];
  const means = found.map((each) => MEANS * Math.abs(each.mean));
  return Math.min(1.1 * Math.min(ends.at(-1), Math.max(median, ...means)) || 1, most);
}

const WIDTH = 280;
const across = (value, reach) => WIDTH / 2 + (value / reach) * (WIDTH / 2 - 6);

function axis(reach, metric) {
  const left = metric.better === "lower" ? "better" : "worse";
  const right = metric.better === "lower" ? "worse" : "better";
  return s("svg", { class: "forest-axis", viewBox: `0 0 ${WIDTH} 30`, role: "img",
    "aria-label": `From ${signed(-reach, metric.digits)} to ${signed(reach, metric.digits)}; ${left} to the left` },
    s("text", { x: 0, y: 12 }, `\u2190 ${left}`),
    s("text", { x: WIDTH, y: 12, "text-anchor": "end" }, `${right} \u2192`),
    s("text", { x: 0, y: 27, class: "tick" }, signed(-reach, metric.digits)),
    s("text", { x: WIDTH / 2, y: 27, class: "tick", "text-anchor": "middle" }, "0"),
    s("text", { x: WIDTH, y: 27, class: "tick", "text-anchor": "end" }, signed(reach, metric.digits)));
}

function row(contrast, difference, reach, metric) {
  return h("tr", {},
    h("th", { scope: "row" }, contrast.variant),
    h("td", { class: "number" }, difference ? [
      h("b", {}, signed(difference.mean, metric.digits)),
      difference.low === null ? null
        : h("small", {}, `${signed(difference.low, metric.digits)} to ${signed(difference.high, metric.digits)}`),
    ] : "no pair yet"),
    h("td", {}, difference ? [interval(difference, reach, metric), cutWords(difference, reach)] : null),
    h("td", { class: "number", "data-label": "Pairs" }, difference ? String(difference.n) : "0"));
}

// As the verdict has it: an interval on one side of the line is not enough.
function side({ call }, metric) {
  if (call === null) return "open";
  return call === metric.better ? "better" : "worse";
}

function interval(difference, reach, metric) {
  const at = across(difference.mean, reach);
  const [low, high] = [difference.low, difference.high].map((end) => across(within(end, reach), reach));
  const whiskers = difference.low === null ? [] : [
    s("line", { x1: low, x2: high, y1: 14, y2: 14 }),
    end(low, difference.low < -reach ? 6 : 0),
    end(high, difference.high > reach ? -6 : 0),
  ];
  return s("svg", { class: `forest-row ${side(difference, metric)}`, viewBox: `0 0 ${WIDTH} 28`, "aria-hidden": "true" },
    s("line", { class: "zero", x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: 28 }),
    whiskers,
    s("rect", { x: at - 4.5, y: 9.5, width: 9, height: 9 }));
}

const within = (value, reach) => Math.min(Math.max(value, -reach), reach);

// Where an interval ends; `barb`: how far an arrow's go back, where it goes on beyond the chart.
const end = (at, barb) => s("polyline", { points: `${at + barb},9 ${at},14 ${at + barb},19`, class: barb ? "cut" : "end" });

function cutWords({ low, high }, reach) {
  const sides = [low < -reach && "left", high > reach && "right"].filter(Boolean);
  return sides.length > 0 && h("span", { class: "visually-hidden" }, `The interval goes on beyond the chart to the ${sides.join(" and the ")}.`);
}

// ---- the other parts

function recommendation(report) {
  return h("section", { "aria-labelledby": "advice-title" },
    h("h2", { id: "advice-title" }, "What to choose"),
    h("div", { class: "advice" }, report.recommendation.map((each) => h("article", { class: "card" },
      h("h3", {}, each.title),
      each.advice.length ? h("ul", {}, each.advice.map((advice) => h("li", {}, advice.text))) : null,
      each.not_tested ? h("p", { class: "help" }, each.not_tested) : null))));
}

// The mean, and half of its interval; the latter is empty where one seed has none.
const numbersOf = (metric, scale, digits) => [
  (scale * metric.mean).toFixed(digits),
  metric.low === null ? "" : ((scale * (metric.high - metric.low)) / 2).toFixed(digits),
];

const spread = ([mean, half]) => (half ? [mean, h("small", {}, `\u00b1${half}`)] : [mean]);

const COLUMNS = [
  ["Test accuracy, %", "test_accuracy", 100, 2],
  ["Test loss", "test_loss", 1, 4],
  ["Gap in loss", "generalization_gap_loss", 1, 4],
  ["Gap in accuracy, points", "generalization_gap_accuracy", 100, 2],
  ["Calibration error", "test_ece", 1, 4],
  ["Epochs", "epochs_run", 1, 1],
  ["Seconds", "training_seconds", 1, 1],
];

function table(report) {
  const shown = report.variants.filter((variant) => variant.metrics);
  return h("section", { "aria-labelledby": "variants-title" },
    h("h2", { id: "variants-title" }, "The variants in numbers"),
    h("p", { class: "help sideways" }, "Wider than this screen: scroll it sideways \u2192"),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "variants-title", tabindex: 0 },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Variant"), h("th", { scope: "col", class: "number" }, "Seeds"),
          COLUMNS.map(([title]) => h("th", { scope: "col", class: "number" }, title)))),
        h("tbody", {}, shown.map((variant) => h("tr", {},
          h("th", { scope: "row" }, variant.name, variant.is_baseline ? h("span", { class: "tag" }, "baseline") : null),
          h("td", { class: "number" }, String(variant.n)),
          COLUMNS.map(([, name, scale, digits]) =>
            h("td", { class: "number" }, spread(numbersOf(variant.metrics[name], scale, digits))))))))),
    h("p", { class: "help" }, "Means over seeds; behind \u00b1 half of the 95 % interval, from two seeds on."),
    saving("save-variants", () => saveCsv("variants.csv", variantLines(shown))));
}

function variantLines(shown) {
  const lines = [["variant", "seeds", ...COLUMNS.flatMap(([title]) => [title, `${title}, \u00b1`])]];
  for (const { name, n, metrics } of shown) {
    lines.push([name, String(n), ...COLUMNS.flatMap(([, metric, scale, digits]) =>
      numbersOf(metrics[metric], scale, digits))]);
  }
  return lines;
}

function notes(report) {
  return h("details", {}, h("summary", {}, "How to read these numbers"),
    h("ul", {}, report.notes.map((note) => h("li", {}, note))));
}
