// What a report (GET /v1/experiments/{id}/report) says, as elements: differences, verdicts, what to choose.

import { h, s } from "./elements.js";

const MEASURES = [
  { name: "test_accuracy_points", title: "Test accuracy", unit: "points", digits: 2, better: "higher" },
  { name: "test_loss", title: "Test loss", unit: "nats", digits: 4, better: "lower" },
  { name: "generalization_gap_loss", title: "Gap in loss", unit: "nats", digits: 4, better: "lower" },
  { name: "generalization_gap_accuracy_points", title: "Gap in accuracy", unit: "points", digits: 2, better: "lower" },
];

export function findings(report, measure, choose) {
  const parts = [];
  if (report.contrasts.length) parts.push(differences(report, measure, choose));
  if (report.recommendation.length) parts.push(recommendation(report));
  if (report.variants.some((variant) => variant.measures)) parts.push(table(report));
  if (report.notes.length) parts.push(notes(report));
  return parts;
}

// ---- differences from the baseline: a forest plot, row by row beside its numbers

const signed = (value, digits) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(digits);

function differences(report, chosen, choose) {
  const measure = MEASURES.find((each) => each.name === chosen) ?? MEASURES[0];
  const found = report.contrasts.map((contrast) => contrast.differences?.[measure.name] ?? null);
  const ends = found.filter(Boolean).flatMap((each) => [each.low ?? each.mean, each.high ?? each.mean]);
  const reach = ends.length ? Math.max(...ends.map(Math.abs), 1e-9) * 1.1 : 1;
  return h("section", { "aria-labelledby": "differences-title" },
    h("h2", { id: "differences-title" }, "Differences from ", h("q", {}, report.baseline)),
    h("div", { class: "tabs", role: "group", "aria-label": "Measure" },
      MEASURES.map((each) => h("button", {
        type: "button", id: `measure-${each.name}`, "aria-pressed": String(each === measure),
        onclick: () => choose(each.name),
      }, each.title))),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "differences-title", tabindex: 0 },
      h("table", { class: "forest" },
        h("thead", {}, h("tr", {},
          h("th", { scope: "col" }, "Variant"),
          h("th", { scope: "col", class: "number" }, `Difference, ${measure.unit}`),
          h("th", { scope: "col" }, axis(reach, measure)),
          h("th", { scope: "col", class: "number" }, "Pairs"))),
        h("tbody", {}, report.contrasts.map((contrast, index) => row(contrast, found[index], reach, measure))))),
    h("p", { class: "help" },
      `Mean difference over seeds that both have finished, with its 95 % interval; ${measure.better} is better. `,
      "Filled: the verdict below calls it. Hollow: it leaves it open, wherever the interval lies."),
    h("h3", {}, "In words"),
    h("dl", { class: "verdicts" }, report.contrasts.flatMap((contrast) =>
      [h("dt", {}, contrast.variant), h("dd", {}, contrast.verdict)])));
}

const WIDTH = 280;
const across = (value, reach) => WIDTH / 2 + (value / reach) * (WIDTH / 2 - 6);

function axis(reach, measure) {
  const left = measure.better === "lower" ? "better" : "worse";
  const right = measure.better === "lower" ? "worse" : "better";
  return s("svg", { class: "forest-axis", viewBox: `0 0 ${WIDTH} 30`, role: "img",
    "aria-label": `From ${signed(-reach, measure.digits)} to ${signed(reach, measure.digits)}; ${left} to the left` },
    s("text", { x: 0, y: 12 }, `\u2190 ${left}`),
    s("text", { x: WIDTH, y: 12, "text-anchor": "end" }, `${right} \u2192`),
    s("text", { x: 0, y: 27, class: "tick" }, signed(-reach, measure.digits)),
    s("text", { x: WIDTH / 2, y: 27, class: "tick", "text-anchor": "middle" }, "0"),
    s("text", { x: WIDTH, y: 27, class: "tick", "text-anchor": "end" }, signed(reach, measure.digits)));
}

function row(contrast, difference, reach, measure) {
  return h("tr", {},
    h("th", { scope: "row" }, contrast.variant),
    h("td", { class: "number" }, difference ? [
      h("b", {}, signed(difference.mean, measure.digits)),
      difference.low === null ? null
        : h("small", {}, `${signed(difference.low, measure.digits)} to ${signed(difference.high, measure.digits)}`),
    ] : "no pair yet"),
    h("td", {}, difference ? interval(difference, reach, measure) : null),
    h("td", { class: "number" }, difference ? String(difference.n) : "0"));
}

// As the verdict has it: an interval on one side of the line is not enough.
function side({ call }, measure) {
  if (call === null) return "open";
  return call === measure.better ? "better" : "worse";
}

function interval(difference, reach, measure) {
  const at = across(difference.mean, reach);
  const whiskers = difference.low === null ? [] : [
    s("line", { x1: across(difference.low, reach), x2: across(difference.high, reach), y1: 14, y2: 14 }),
    ...[difference.low, difference.high].map((end) =>
      s("line", { x1: across(end, reach), x2: across(end, reach), y1: 9, y2: 19 })),
  ];
  return s("svg", { class: `forest-row ${side(difference, measure)}`, viewBox: `0 0 ${WIDTH} 28`, "aria-hidden": "true" },
    s("line", { class: "zero", x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: 28 }),
    whiskers,
    s("rect", { x: at - 4.5, y: 9.5, width: 9, height: 9 }));
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

const spread = (measure, scale, digits) => {
  const mean = (scale * measure.mean).toFixed(digits);
  if (measure.low === null) return [mean];
  return [mean, h("small", {}, `\u00b1${((scale * (measure.high - measure.low)) / 2).toFixed(digits)}`)];
};

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
  return h("section", { "aria-labelledby": "variants-title" },
    h("h2", { id: "variants-title" }, "The variants in numbers"),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "variants-title", tabindex: 0 },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Variant"), h("th", { scope: "col", class: "number" }, "Seeds"),
          COLUMNS.map(([title]) => h("th", { scope: "col", class: "number" }, title)))),
        h("tbody", {}, report.variants.filter((variant) => variant.measures).map((variant) => h("tr", {},
          h("th", { scope: "row" }, variant.name, variant.is_baseline ? h("span", { class: "tag" }, "baseline") : null),
          h("td", { class: "number" }, String(variant.n)),
          COLUMNS.map(([, name, scale, digits]) =>
            h("td", { class: "number" }, spread(variant.measures[name], scale, digits)))))))),
    h("p", { class: "help" }, "Means over seeds; behind \u00b1 half of the 95 % interval, from two seeds on."));
}

function notes(report) {
  return h("details", {}, h("summary", {}, "How to read these numbers"),
    h("ul", {}, report.notes.map((note) => h("li", {}, note))));
}
