// Parallel coordinates of tuning: a row for each tuned field and one for validation loss, and a line down the rows for
// each trial. Positions across are in percent, so that text keeps its size whatever the width.

import { h, s } from "./elements.js";
import { getDash, getSeriesClass } from "./plot.js";
import { formatAxisValue, formatTunedValue, nameAxis } from "./points.js";
import { makeScale } from "./scales.js";

const LOSS = "validation loss, nats";
const [ROW, TOP, BOTTOM] = [72, 38, 28];
const ENDS = [4, 96];
// Of a variant, those with the lowest losses: more lines hide each other.
const MAX_TRIALS = 100;
// From this ratio of the highest loss to the lowest on their row is logarithmic.
const SPREAD = 10;
const MAX_TEXTS = 5;

// Null until a trial has a loss.
export function buildTrialLines({ log_scales: logarithmic, variants }, baseline) {
  const others = variants.filter(({ variant }) => variant !== baseline);
  const series = variants.map((item) => ({ name: item.variant, series: item.variant === baseline ? null : others.indexOf(item) }));
  const lines = variants.flatMap(({ chosen, trials }, index) => trials.filter(({ validation_loss: loss }) => loss)
    .toSorted((one, other) => one.validation_loss.mean - other.validation_loss.mean).slice(0, MAX_TRIALS)
    .map(({ trial, parameters, validation_loss: { mean } }) => ({ ...series[index], trial, isChosen: trial === chosen, values: { ...parameters, [LOSS]: mean } })))
    .sort((one, other) => Number(one.isChosen) - Number(other.isChosen));
  if (!lines.length) return null;
  const fields = [...new Set(lines.flatMap(({ values }) => Object.keys(values).filter((field) => field !== LOSS))), LOSS];
  const rows = fields.map((field, index) => {
    const values = lines.map((line) => line.values[field]).filter((value) => value !== undefined);
    const spread = field === LOSS && Math.max(...values) >= SPREAD * Math.min(...values);
    return { field, y: TOP + index * ROW, title: field === LOSS ? LOSS : nameAxis(field), ...buildScale(field, values, spread || logarithmic.includes(field)) };
  });
  const height = TOP + (rows.length - 1) * ROW + BOTTOM;
  const status = h("p", { class: "help", role: "status" }, "Point at a line, or move to a chosen one with Tab, to see its trial.");
  const drawn = lines.map((line) => renderLine(line, rows, status));
  return h("div", { id: "trial-lines" },
    s("svg", { class: "trials", height },
      rows.map(({ y }) => s("line", { class: "axis", x1: `${ENDS[0]}%`, x2: `${ENDS[1]}%`, y1: y, y2: y })),
      s("svg", { viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", width: "100%", height }, drawn.map(({ polyline }) => polyline)),
      drawn.map(({ dots }) => dots),
      rows.map(({ y, title, ticks }) => [
        s("text", { class: "name", x: `${ENDS[0]}%`, y: y - 12 }, title),
        ticks.map(([x, text]) => s("text", { x: `${x}%`, y: y + 20, "text-anchor": x === ENDS[0] ? "start" : x === ENDS[1] ? "end" : "middle" }, text))])),
    h("ul", { class: "plot-legend" }, series.map((one) => h("li", {},
      s("svg", { class: `swatch ${getSeriesClass(one)}`, width: 28, height: 10, "aria-hidden": "true" },
        s("line", { class: "line", x1: 0, x2: 28, y1: 5, y2: 5, "stroke-dasharray": getDash(one) })), ` ${one.name}`))),
    status,
    h("p", { class: "help" }, "Each line is a trial, thick where its settings were chosen; where a line has no dot, its variant does not tune that field. ",
      variants.some(({ finished }) => finished > MAX_TRIALS) && `Of each variant at most the ${MAX_TRIALS} trials with the lowest losses.`));
}

function renderLine(line, rows, status) {
  const points = rows.filter(({ field }) => line.values[field] !== undefined).map(({ field, x, y }) => [x(line.values[field]).toFixed(2), y]);
  const settings = rows.filter(({ field }) => line.values[field] !== undefined).map(({ field, title }) =>
    `${title} ${field === LOSS ? line.values[field].toFixed(4) : formatTunedValue(field, line.values[field])}`);
  const text = `${line.name}, trial ${line.trial}${line.isChosen ? ", chosen" : ""}: ${settings.join(", ")}`;
  const show = () => { status.textContent = text; };
  const classes = `${getSeriesClass(line)}${line.isChosen ? " chosen" : ""}`;
  // Only chosen ones are reached by Tab: there may be hundreds of the others, which the list of trials has.
  const access = line.isChosen ? { tabindex: 0, role: "img", "aria-label": text } : { "aria-hidden": "true" };
  return {
    polyline: s("polyline", { points: points.map((point) => point.join(",")).join(" "), class: `trial-line ${classes}`,
      "stroke-dasharray": getDash(line), onpointerenter: show, onfocus: show, ...access }),
    dots: points.map(([x, y]) => s("circle", { class: classes, cx: `${x}%`, cy: y, r: line.isChosen ? 5 : 3 })),
  };
}

// Where across a value is, in percent, and which texts are where; what is no number has a text for each value.
function buildScale(field, values, logarithmic) {
  if (!values.every((value) => typeof value === "number")) {
    const texts = [...new Set(values.map((value) => formatAxisValue(field, value)))];
    const x = makeScale([0, Math.max(texts.length - 1, 1)], ENDS, false);
    const every = Math.ceil(texts.length / MAX_TEXTS);
    return { x: (value) => x(texts.indexOf(formatAxisValue(field, value))), ticks: texts.map((text, index) => [x(index), text]).filter((_, index) => index % every === 0) };
  }
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = makeScale(low < high ? [low, high] : [low, low + 1], ENDS, logarithmic && low > 0 && low < high);
  const ticks = low < high ? [ENDS[0], (ENDS[0] + ENDS[1]) / 2, ENDS[1]] : [ENDS[0]];
  return { x, ticks: ticks.map((at) => [at, formatTunedValue(field, Number(x.invert(at).toPrecision(6)))]) };
}
