// Parts of a report (GET /v1/experiments/{id}/report) as elements.

import { h } from "./elements.js";
import { saveCsv } from "./export.js";
import { METRICS, buildSaveButton, formatLabel } from "./measures.js";
import { chooseIntervalDigits, formatSigned } from "./numbers.js";
import { formatTunedValue, getPointCells, getPointHeads, nameAxis } from "./points.js";
import { addRoot } from "./root-path.js";
import { buildTrialLines } from "./trial-lines.js";

// ---- the answer

// `act(step)` is called when its button is pressed.
// A text that names its measure first would name it twice beside its title.
const withoutTitle = (text, title) => (text.startsWith(`${title}: `) ? text.slice(title.length + 2) : text);

export function buildAnswer({ answers, headline, next_step: step, bias_variance: parts }, act) {
  return [
    answers.length ? h("dl", { class: "answers" }, answers.map(({ title, text }) => [h("dt", {}, title), h("dd", {}, withoutTitle(text, title))]))
      : h("p", { class: "headline" }, headline),
    answers.length > 0 && h("p", { class: "help" }, answers[0].confidence),
    parts?.answers.length > 0 && h("p", {}, parts.answers.at(-1), " ", h("a", { href: "#bias-variance-title" }, "Bias and variance")),
    step && h("p", { class: "next-step" }, step.text, " ", h("button", { type: "button", id: "next-step", onclick: ({ target }) => act(step, target) },
      `${step.follow_up ? `Test ${step.variants.length === 1 ? step.variants[0] : "again"} on ${formatSeeds(step, "fresh seed")}` : `Add ${formatSeeds(step, "seed")}`}${formatPrice(step)}`)),
  ];
}

const formatSeeds = ({ seeds }, noun) => `${seeds} ${noun}${seeds === 1 ? "" : "s"}`;
const MINUTE = 60;

function formatPrice({ seconds }) {
  if (seconds === null) return "";
  const time = seconds < 2 * MINUTE ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / MINUTE)} min`;
  return `, about ${time} of training`;
}

// ---- what to choose

export function buildRecommendation(report) {
  const open = report.recommendation.filter(({ advice }) => !advice.length);
  return h("section", { "aria-labelledby": "advice-title" },
    h("h2", { id: "advice-title" }, "What to choose"),
    h("dl", { class: "terms" }, report.recommendation.filter(({ advice }) => advice.length).map((item) =>
      [h("dt", {}, item.title), h("dd", {}, item.advice.map(({ text }) => h("p", {}, text)))])),
    open.length > 0 && h("p", { class: "help" }, `Nothing was shown about: ${open.map(({ title }) => title.toLowerCase()).join("; ")}.`));
}

// ---- charts of the report

// A chart that the service draws, with links to its files; `query` names another baseline. With more finished jobs it
// has another `version`: a browser does not fetch an image of the same address again while its page is open.
export const buildFigure = (address, query, { name, title, version }) => h("figure", { class: "report-figure" },
  h("img", { class: "report-chart", loading: "lazy", alt: title, src: `${address}/charts/${name}?format=svg&version=${version}${query}` }),
  h("figcaption", {}, `${title}: `, ["PDF", "SVG", "PNG"].map((form, index) => [index ? ", " : "",
    h("a", { href: `${address}/charts/${name}?format=${form.toLowerCase()}${query}`, download: `${name}.${form.toLowerCase()}` }, form)])));

// ---- tuning

// `id`: of the experiment that is shown; `figures`: its charts. The bar is of trials; that of judging is the page's own.
export function buildTuning({ baseline, tuning }, id, figures) {
  const { experiment_id: source, trials, seeds_per_trial: seeds, variants } = tuning;
  const ended = variants.reduce((total, { finished: count }) => total + count, 0);
  const planned = trials * variants.length;
  const tuned = (parameters) => Object.entries(parameters).map(([field, value]) => `${nameAxis(field)} ${formatTunedValue(field, value)}`).join(", ");
  return h("section", { "aria-labelledby": "tuning-title", id: "tuning" },
    h("h2", { id: "tuning-title" }, "Tuning"),
    source !== id && h("p", {}, "Nothing was tuned here: this follow-up judges the settings that ",
      source ? h("a", { href: addRoot(`/experiments/${source}`) }, "an earlier experiment") : "an experiment that was deleted", " chose, whose trials these are."),
    h("p", {}, `Trials with a validation loss of every seed: ${ended} of ${planned}. `,
      variants.some(({ chosen }) => chosen === null) && h("progress", { "aria-label": "Trials", max: planned, value: ended })),
    h("p", { class: "help" }, `Every variant tries ${trials} settings with ${formatSeeds({ seeds }, "seed")} each. Validation loss chooses, and the test images are `
      + "used only by the runs that follow. The lowest of several validation losses is too good to be expected again."),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "tuning-title", tabindex: 0 }, h("table", {},
      h("thead", {}, h("tr", {}, ["Variant", "Chosen", "Its validation loss", "Trials"].map((text, index) => h("th", { scope: "col", class: index > 1 ? "number" : "" }, text)))),
      h("tbody", {}, variants.map(({ variant, setting, validation_loss: loss, finished: count }) => h("tr", {},
        h("th", { scope: "row" }, variant), h("td", {}, tuned(setting)),
        h("td", { class: "number" }, loss ? loss.mean.toFixed(4) : ""), h("td", { class: "number" }, `${count} of ${trials}`)))))),
    buildTrialLines(tuning, baseline),
    figures);
}

// ---- bias and variance

const MAX_OPEN_ROWS = 8;
const PARTS = { bias: "Bias", variance: "Variance", mean_loss: "Their sum" };

export function buildBiasVariance({ bias_variance: { items, differences, answers, intervals }, ...report }) {
  const key = ({ variant, point }) => JSON.stringify([variant, point]);
  const changes = new Map(differences.map((one) => [key(one), one.cross_entropy]));
  const rows = items.filter((item) => item.cross_entropy);
  if (!rows.length) return null;
  const address = `${location.pathname.replace("/experiments/", "/v1/experiments/")}/charts/bias-variance?format=svg&version=${report.finished}`;
  const table = h("div", { class: "scroll", role: "group", "aria-labelledby": "bias-variance-title", tabindex: 0 }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Variant"),
      [...Object.values(PARTS), "Bias minus baseline", "Variance minus baseline", "Seeds"].map((text) =>
        h("th", { scope: "col", class: "number" }, text)))),
    h("tbody", {}, rows.map((item) => h("tr", {},
      h("th", { scope: "row" }, [item.variant, ...formatPoint(item.point)].join(", ")),
      Object.keys(PARTS).map((part) => buildMeasured(item.cross_entropy[part], (value, digits) => value.toFixed(digits))),
      ["bias", "variance"].map((part) => buildMeasured(changes.get(key(item))?.[part], formatSigned)),
      h("td", { class: "number" }, String(item.seeds)))))));
  return h("section", { "aria-labelledby": "bias-variance-title" },
    h("h2", { id: "bias-variance-title" }, "Bias and variance"),
    answers.length > 0 && h("ul", {}, answers.map((answer) => h("li", {}, answer))),
    h("img", { class: "report-chart", src: address, alt: "Bias, variance and their sum; the table below has the numbers" }),
    rows.length > MAX_OPEN_ROWS ? h("details", {}, h("summary", {}, "Bias and variance in numbers"), table) : table,
    h("p", { class: "help" }, "Each variant was trained on disjoint parts of the training examples. Bias is the test loss of the average of its "
      + "models\u2019 predictions: what averaging over training sets does not remove. Variance is how far the models lie from that average: "
      + "what another training set of this size would change. The two add up to the mean test loss, in nats. ", intervals));
}

const formatPoint = (point) => Object.entries(point ?? {}).map(([field, value]) =>
  `${field.split("/").at(-1).replaceAll("_", " ")} ${Array.isArray(value) ? value.join("-") || "none" : value}`);

function buildMeasured(measured, format) {
  if (!measured) return h("td", { class: "number" });
  const digits = chooseIntervalDigits(measured.value, [measured.low, measured.high], 3);
  const ends = [measured.low, measured.high].map((value) => value !== null && format(value, digits));
  return h("td", { class: "number" }, format(measured.value, digits), measured.low !== null && h("small", {}, ends.join(" to ")));
}

// The mean and half of its interval, which is empty for a single seed; means of counts may have a fraction.
function formatMean(summary, { digits, scale }) {
  if (!summary) return ["", ""];
  const places = Number.isInteger(summary.mean) ? digits : Math.max(digits, 1);
  return [
    (scale * summary.mean).toFixed(places),
    summary.low === null ? "" : ((scale * (summary.high - summary.low)) / 2).toFixed(places),
  ];
}

const buildMeanCell = ([mean, half]) => (half ? [mean, h("small", {}, `\u00b1${half}`)] : [mean]);

const COLUMNS = METRICS.filter((metric) => metric.table === "variants");

export function buildTable(report) {
  const variants = report.variants.filter((variant) => variant.metrics);
  return h("section", { "aria-labelledby": "variants-title" },
    h("h2", { id: "variants-title" }, "Means of the variants"),
    h("p", { class: "help sideways" }, "Scroll sideways to see all columns \u2192"),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "variants-title", tabindex: 0 },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Variant"),
          getPointHeads(report).map((title) => h("th", { scope: "col", class: "number" }, title)), h("th", { scope: "col", class: "number" }, "Seeds"),
          COLUMNS.map((metric) => h("th", { scope: "col", class: "number" }, formatLabel(metric))))),
        h("tbody", {}, variants.map((variant) => h("tr", {},
          h("th", { scope: "row" }, variant.name, variant.is_baseline ? h("span", { class: "tag" }, "baseline") : null),
          getPointCells(variant.point).map((text) => h("td", { class: "number" }, text)),
          h("td", { class: "number" }, String(variant.n)),
          COLUMNS.map(({ name, format }) =>
            h("td", { class: "number" }, buildMeanCell(formatMean(variant.metrics[name], format))))))))),
    h("p", { class: "help" }, "Mean \u00b1 half-width of the 95 % confidence interval over seeds."),
    buildSaveButton("save-variants", () => saveCsv("variants.csv", formatVariants(variants, getPointHeads(report)))));
}

function formatVariants(variants, heads) {
  const lines = [["variant", ...heads, "seeds", ...COLUMNS.map(formatLabel).flatMap((label) => [label, `${label}, \u00b1`])]];
  for (const { name, point, n, metrics } of variants) {
    lines.push([name, ...getPointCells(point), String(n), ...COLUMNS.flatMap((column) => formatMean(metrics[column.name], column.format))]);
  }
  return lines;
}

// ---- test images that a variant gets right and the baseline not

export function buildMistakes(items) {
  return h("section", { "aria-labelledby": "mistakes-title", id: "mistakes" },
    h("h2", { id: "mistakes-title" }, "Mistakes that a variant does not make"),
    h("p", { class: "help" }, "Test images that a variant gets right and the baseline not, by mean log-probabilities over their seeds; the nearest mistakes first. Below each image: its true class, not the one that the baseline predicts."),
    items.map(({ variant, baseline, only_variant: gained, only_baseline: lost, images }) => h("div", {},
      h("h3", {}, variant),
      h("p", {}, `Images that only ${variant} gets right: ${gained}; that only ${baseline} gets right: ${lost}.`),
      h("div", { class: "mistakes" }, images.map(({ index, label, answer, picture }) => h("figure", {},
        picture ? h("img", { src: picture, width: 56, height: 56, alt: `Test image ${index}` }) : null,
        h("figcaption", {}, `${label}, not ${answer}`)))))));
}

// ---- training images that models memorize

export function buildMemorization(items) {
  return h("section", { "aria-labelledby": "memorization-title", id: "memorization" },
    h("h2", { id: "memorization-title" }, "Memorized training images"),
    h("p", { class: "help" }, "An image's estimate is the accuracy on it of models that were trained on it, minus that of the others. Drawn are the largest estimates that are more than chance, with the label, and the accuracy of those that saw it / of the others."),
    items.map(({ name, text, images }) => h("div", {},
      h("h3", {}, name),
      h("p", {}, text),
      h("div", { class: "mistakes" }, images.filter(({ memorized }) => memorized).map(({ index, caption, picture }) => h("figure", {},
        picture ? h("img", { src: picture, width: 56, height: 56, alt: `Training image ${index}` }) : null,
        h("figcaption", {}, caption)))))));
}

// ---- damaged test images: accuracies of baselines, differences of the others

export function buildRobustness(reports) {
  const kinds = ["", ...Object.keys(reports[0].kinds)];
  return h("section", { "aria-labelledby": "robustness-title" },
    h("h2", { id: "robustness-title" }, "Damaged test images"),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "robustness-title", tabindex: 0 },
      h("table", { id: "robustness" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Damage"),
          reports.map(({ variant }) => h("th", { scope: "col", class: "number" }, variant)))),
        h("tbody", {}, kinds.map((kind) => h("tr", {},
          h("th", { scope: "row" }, kind.replaceAll("_", " ") || "all kinds"),
          reports.map((report) => h("td", { class: "number" }, buildRobustnessCell(report, kind)))))))),
    h("p", { class: "help" }, "Means over five severities: the baseline's accuracy, and the others' difference from it in points with its 95 % interval by itself. Described, not tested; nothing is chosen by it."));
}

function buildRobustnessCell({ accuracy, kinds, difference, kind_differences: differences }, kind) {
  const compared = kind ? differences[kind] : difference;
  if (!compared) return `${(100 * (kind ? kinds[kind] : accuracy).mean).toFixed(1)} %`;
  const { mean, low, high } = compared;
  const digits = chooseIntervalDigits(mean, [low, high], 1);
  return [formatSigned(mean, digits), low === null ? null : h("small", {}, `${formatSigned(low, digits)} to ${formatSigned(high, digits)}`)];
}

export function buildNotes(report) {
  return h("details", {}, h("summary", {}, "How to read these numbers"),
    h("ul", {}, report.notes.map((note) => h("li", {}, note))),
    h("h3", {}, "Methods"), h("p", {}, report.methods));
}
