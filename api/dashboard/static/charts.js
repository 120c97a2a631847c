// The only module that uses Plotly, which a deferred script loads before it.

import { formatCount } from "./elements.js";

// The colour-blind safe palette of Okabe and Ito, as in reports; dashes distinguish lines without colour.
const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#A8487D", "#2B8CBE", "#9A6A00", "#000000", "#6B6B6B"];
const DARK = ["#56B4E9", "#FF8A4C", "#35C99A", "#E39CC4", "#9AD0F5", "#E6B84A", "#FFFFFF", "#A8A8A8"];
const COLOURS = LIGHT.length;
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "5px,2px", "2px,4px"];
const TITLES = {
  validation_loss: "Validation loss, nats", train_loss: "Training loss, nats",
  validation_accuracy: "Validation accuracy, %", train_accuracy: "Training accuracy, %",
};

const FEW_EPOCHS = 12;

// 64 lines have distinct pairs of colour and dash.
const getDash = (index) => DASHES[(index + Math.floor(index / DASHES.length)) % DASHES.length];

// The metric that the address requests if it has a button, else the first button's.
export function getSelectedMetric(buttons) {
  const metrics = [...buttons.children].map((button) => button.dataset.metric);
  const requested = new URLSearchParams(location.search).get("curve");
  return metrics.includes(requested) ? requested : metrics[0];
}

// A colour of app.css in the current theme.
function getColour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
// The colour of a shaded area; more transparent where many `layers` may overlap.
const shade = (colour, layers = 1) => `${colour}${layers > COLOURS ? "0d" : "2e"}`;

// A variant's curve and its band, from GET /v1/experiments/{id}/curves.
function buildTraces(item, index, metric, layers) {
  const colours = isDark() ? DARK : LIGHT;
  const colour = colours[index % colours.length];
  const scale = metric.endsWith("accuracy") ? 100 : 1;
  const digits = scale === 100 ? 2 : 4;
  const points = item[metric];
  const epochs = points.map((point) => point.epoch);
  const group = `v${index}`;
  const bandPoints = points.filter((point) => point.low !== null);
  const edge = (name) => ({
    x: bandPoints.map((point) => point.epoch), y: bandPoints.map((point) => scale * point[name]),
    mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: group,
  });
  const band = bandPoints.length ? [edge("low"), { ...edge("high"), fill: "tonexty", fillcolor: shade(colour, layers) }] : [];
  return [...band, {
    x: epochs, y: points.map((point) => scale * point.mean), name: escapeHtml(item.variant), legendgroup: group,
    mode: points.length > 1 ? "lines" : "markers",
    line: { color: colour, width: 2, dash: getDash(index) }, marker: { color: colour },
    customdata: points.map((point) => formatCount(point.n, "seed")),
    hovertemplate: `%{fullData.name}<br>epoch %{x}: %{y:.${digits}f} (%{customdata})<extra></extra>`,
  }];
}

// Plotly interprets some HTML in texts.
const escapeHtml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// `uiRevision`: while it is equal, new data preserve the zoom. With few `epochs`, only whole ones get ticks.
function buildLayout(yTitle, uiRevision, epochs) {
  const [text, muted, line] = ["--text", "--quiet", "--line"].map(getColour);
  const axis = { gridcolor: line, zeroline: false, automargin: true, linecolor: line };
  return {
    uirevision: uiRevision,
    margin: { l: 10, r: 10, t: 34, b: 10 }, hovermode: "closest",
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: "system-ui, sans-serif", size: 13, color: text },
    hoverlabel: { bgcolor: getColour("--paper"), bordercolor: line, font: { color: text } },
    modebar: { bgcolor: "transparent", color: muted, activecolor: text },
    xaxis: { ...axis, title: { text: "Epoch", standoff: 6 }, tickformat: "d", ...(epochs <= FEW_EPOCHS ? { dtick: 1 } : {}) },
    yaxis: { ...axis, title: { text: yTitle } },
    legend: { orientation: "h", yref: "container", y: 0.02, yanchor: "bottom" },
  };
}

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "toImage"] };

function draw(container, getData, getLayout) {
  container.draw = () => draw(container, getData, getLayout);
  return window.Plotly.react(container, getData(), getLayout(), CONFIG);
}

export function showCurves(container, curves, metric) {
  // Makes room for a longer legend.
  container.style.height = `${25 + Math.min(0.8 * Math.max(curves.items.length - COLOURS, 0), 16)}rem`;
  return draw(container, () => curves.items.flatMap((item, index) => buildTraces(item, index, metric, curves.items.length)),
    () => buildLayout(TITLES[metric], metric, countEpochs(curves.items.map((item) => item[metric]))));
}

// A line with its band for each variant along an axis (api/reports/axis_schemas.py): `lines` have points with x, mean,
// low, high and whether the marker is filled; `names` fixes the colours; `zero` draws the line of no difference.
export function showAlongAxis(container, lines, names, { axis, title, digits, zero = false }) {
  const type = axis.scale === "categories" ? "category" : axis.scale;
  const data = () => lines.flatMap(({ name, points }) => {
    const index = names.indexOf(name);
    const colours = isDark() ? DARK : LIGHT;
    const colour = colours[index % colours.length];
    const whole = points.filter((point) => point.low !== null);
    const edge = (end) => ({ x: whole.map(({ x }) => x), y: whole.map((point) => point[end]), mode: "lines", line: { width: 0 },
      hoverinfo: "skip", showlegend: false, legendgroup: name });
    const band = whole.length ? [edge("low"), { ...edge("high"), fill: "tonexty", fillcolor: shade(colour, names.length) }] : [];
    return [...band, {
      x: points.map(({ x }) => x), y: points.map(({ mean }) => mean), name: escapeHtml(name), legendgroup: name, mode: "lines+markers",
      line: { color: colour, width: 2, dash: getDash(index) },
      marker: { size: 8, color: points.map(({ filled }) => (filled ? colour : getColour("--paper"))), line: { color: colour, width: 2 } },
      customdata: points.map(({ low, high }) => (low === null ? "" : `<br>${low.toFixed(digits)} to ${high.toFixed(digits)}`)),
      hovertemplate: `%{fullData.name}<br>${escapeHtml(axis.title)} %{x}: %{y:.${digits}f}%{customdata}<extra></extra>`,
    }];
  });
  const getLayout = () => {
    const layout = buildLayout(escapeHtml(title), title, Infinity);
    const values = axis.numbers ? { tickmode: "array", tickvals: axis.numbers, ticktext: axis.values.map((value, index) => String(value ?? axis.numbers[index])) } : {};
    layout.showlegend = true;
    layout.xaxis = { ...layout.xaxis, type, tickformat: "", ...values, title: { text: escapeHtml(axis.title), standoff: 6 } };
    if (zero) layout.shapes = [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: getColour("--quiet"), dash: "dot", width: 1.5 } }];
    return layout;
  };
  return draw(container, data, getLayout);
}

const countEpochs = (lists) => Math.max(0, ...lists.map((list) => list.at(-1)?.epoch ?? 0));

// Every chart is redrawn when the theme changes.
const redraw = () => document.querySelectorAll(".chart").forEach((chart) => chart.draw?.());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("theme", redraw);

const buildEmptyLayout = (layout) => ({ ...layout, xaxis: { visible: false }, yaxis: { visible: false },
  annotations: [{ xref: "paper", yref: "paper", x: 0.5, y: 0.5, text: "No epoch has been measured.", showarrow: false, font: { color: getColour("--quiet") } }] });

// A job's training and validation curves with the gap shaded; `reported`: the epoch whose weights were kept.
// `range`: of the metric, for comparable charts.
export function showTraining(container, epochs, metric, reported, range = null) {
  const scale = metric === "accuracy" ? 100 : 1;
  const digits = scale === 100 ? 2 : 4;
  const buildLine = (name, key, colour, dash, more) => ({
    x: epochs.map(({ epoch }) => epoch), y: epochs.map((epoch) => (epoch[key] === null ? null : scale * epoch[key])),
    name, mode: epochs.length > 1 ? "lines" : "markers", line: { color: colour, width: 2, dash }, marker: { color: colour },
    hovertemplate: `${name}<br>epoch %{x}: %{y:.${digits}f}<extra></extra>`, ...more,
  });
  const data = () => {
    const [training, validation] = isDark() ? DARK : LIGHT;
    const hasValidation = epochs.some((epoch) => epoch[`validation_${metric}`] !== null);
    return [buildLine("Training", `train_${metric}`, training, "solid"),
      ...(hasValidation ? [buildLine("Validation", `validation_${metric}`, validation, "dash", { fill: "tonexty", fillcolor: shade(validation) })] : [])];
  };
  const getLayout = () => {
    const layout = buildLayout(metric === "accuracy" ? "Accuracy, %" : "Loss, nats", metric, epochs.length);
    if (range) layout.yaxis.range = range;
    if (!epochs.length) return buildEmptyLayout(layout);
    if (!reported) return layout;
    return { ...layout,
      shapes: [{ type: "line", x0: reported, x1: reported, yref: "paper", y0: 0, y1: 1, line: { color: getColour("--quiet"), dash: "dot", width: 1.5 } }],
      annotations: [{ x: reported, yref: "paper", y: 1, yanchor: "bottom", text: "kept", showarrow: false, font: { color: getColour("--quiet") } }] };
  };
  return draw(container, data, getLayout);
}

// The same metric of several jobs.
export function showComparison(container, jobs, metric) {
  const scale = metric.endsWith("accuracy") ? 100 : 1;
  const data = () => jobs.map(({ title, epochs }, index) => ({
    x: epochs.map(({ epoch }) => epoch), y: epochs.map((epoch) => (epoch[metric] === null ? null : scale * epoch[metric])),
    name: escapeHtml(title), mode: epochs.length > 1 ? "lines" : "markers",
    line: { color: (isDark() ? DARK : LIGHT)[index % LIGHT.length], width: 2, dash: getDash(index) },
    hovertemplate: `%{fullData.name}<br>epoch %{x}: %{y:.${scale === 100 ? 2 : 4}f}<extra></extra>`,
  }));
  return draw(container, data, () => buildLayout(TITLES[metric], metric, countEpochs(jobs.map((job) => job.epochs))));
}
