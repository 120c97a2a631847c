// All of Plotly is wrapped here. Its file is loaded before (defer), from the installed package.

// Okabe and Ito's colours, as in reports; dashes tell lines apart without any.
const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#A8487D", "#2B8CBE", "#9A6A00", "#000000", "#6B6B6B"];
const DARK = ["#56B4E9", "#FF8A4C", "#35C99A", "#E39CC4", "#9AD0F5", "#E6B84A", "#FFFFFF", "#A8A8A8"];
const COLOURS = LIGHT.length;
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "5px,2px", "2px,4px"];
const TITLES = {
  validation_loss: "Validation loss, nats", train_loss: "Training loss, nats",
  validation_accuracy: "Validation accuracy, %", train_accuracy: "Training accuracy, %",
};

const FEW_EPOCHS = 12;

// No two of 64 lines have both the same colour and the same dash.
const dashOf = (index) => DASHES[(index + Math.floor(index / DASHES.length)) % DASHES.length];

// Which of the buttons' curves the address asks for; the first, if it names none that there is.
export function chosenMetric(buttons) {
  const there = [...buttons.children].map((button) => button.dataset.metric);
  const wanted = new URLSearchParams(location.search).get("curve");
  return there.includes(wanted) ? wanted : there[0];
}

// A colour of app.css as it is now: light or dark.
function style(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

export const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
// Of a shaded part; `layers`: how many of them may lie over each other.
const faint = (colour, layers = 1) => `${colour}${layers > COLOURS ? "0d" : "2e"}`;

// A variant's curve and its band, from GET /v1/experiments/{id}/curves.
function traces(item, index, metric, layers) {
  const colours = isDark() ? DARK : LIGHT;
  const colour = colours[index % colours.length];
  const scale = metric.endsWith("accuracy") ? 100 : 1;
  const digits = scale === 100 ? 2 : 4;
  const points = item[metric];
  const epochs = points.map((point) => point.epoch);
  const group = `v${index}`;
  const banded = points.filter((point) => point.low !== null);
  const edge = (name) => ({
    x: banded.map((point) => point.epoch), y: banded.map((point) => scale * point[name]),
    mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: group,
  });
  const band = banded.length ? [edge("low"), { ...edge("high"), fill: "tonexty", fillcolor: faint(colour, layers) }] : [];
  return [...band, {
    x: epochs, y: points.map((point) => scale * point.mean), name: escaped(item.variant), legendgroup: group,
    mode: points.length > 1 ? "lines" : "markers",
    line: { color: colour, width: 2, dash: dashOf(index) }, marker: { color: colour },
    customdata: points.map((point) => point.n),
    hovertemplate: `%{fullData.name}<br>epoch %{x}: %{y:.${digits}f} (%{customdata} seeds)<extra></extra>`,
  }];
}

// Plotly reads a little HTML in texts; names are texts.
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// `epochs`: how many there are at most, since there are no parts of one.
export function layout(yTitle, keep, epochs) {
  const [text, quiet, line] = ["--text", "--quiet", "--line"].map(style);
  const axis = { gridcolor: line, zeroline: false, automargin: true, linecolor: line };
  return {
    // As long as this stays the same, new data keep the zoom that somebody has chosen.
    uirevision: keep,
    margin: { l: 10, r: 10, t: 34, b: 10 }, hovermode: "closest",
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: "system-ui, sans-serif", size: 13, color: text },
    hoverlabel: { bgcolor: style("--paper"), bordercolor: line, font: { color: text } },
    modebar: { bgcolor: "transparent", color: quiet, activecolor: text },
    xaxis: { ...axis, title: { text: "Epoch", standoff: 6 }, tickformat: "d", ...(epochs <= FEW_EPOCHS ? { dtick: 1 } : {}) },
    yaxis: { ...axis, title: { text: yTitle } },
    legend: { orientation: "h", yref: "container", y: 0.02, yanchor: "bottom" },
  };
}

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "toImage"] };

export function draw(place, data, plan) {
  place.draw = () => draw(place, data, plan);
  return window.Plotly.react(place, data(), plan(), CONFIG);
}

export function showCurves(place, curves, metric) {
  // Room for a longer legend.
  place.style.height = `${25 + Math.min(0.8 * Math.max(curves.items.length - COLOURS, 0), 16)}rem`;
  return draw(place, () => curves.items.flatMap((item, index) => traces(item, index, metric, curves.items.length)),
    () => layout(TITLES[metric], metric, longest(curves.items.map((item) => item[metric]))));
}

const longest = (lists) => Math.max(0, ...lists.map((list) => list.at(-1)?.epoch ?? 0));

// Another colour scheme: every chart is drawn anew in it.
const redraw = () => document.querySelectorAll(".chart").forEach((chart) => chart.draw?.());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("theme", redraw);

const empty = (made) => ({ ...made, xaxis: { visible: false }, yaxis: { visible: false },
  annotations: [{ xref: "paper", yref: "paper", x: 0.5, y: 0.5, text: "No epoch has been measured.", showarrow: false, font: { color: style("--quiet") } }] });

// A job's curves: training and validation, what lies between them shaded, the epoch that was kept marked.
// `range`: of the metric, where several are to be compared.
export function showTraining(place, epochs, metric, kept, range = null) {
  const scale = metric === "accuracy" ? 100 : 1;
  const digits = scale === 100 ? 2 : 4;
  const line = (name, key, colour, dash, more) => ({
    x: epochs.map((each) => each.epoch), y: epochs.map((each) => (each[key] === null ? null : scale * each[key])),
    name, mode: epochs.length > 1 ? "lines" : "markers", line: { color: colour, width: 2, dash }, marker: { color: colour },
    hovertemplate: `${name}<br>epoch %{x}: %{y:.${digits}f}<extra></extra>`, ...more,
  });
  const data = () => {
    const [training, validation] = isDark() ? DARK : LIGHT;
    const held = epochs.some((each) => each[`validation_${metric}`] !== null);
    return [line("Training", `train_${metric}`, training, "solid"),
      ...(held ? [line("Validation", `validation_${metric}`, validation, "dash", { fill: "tonexty", fillcolor: faint(validation) })] : [])];
  };
  const plan = () => {
    const made = layout(metric === "accuracy" ? "Accuracy, %" : "Loss, nats", metric, epochs.length);
    if (range) made.yaxis.range = range;
    if (!epochs.length) return empty(made);
    if (!kept) return made;
    return { ...made,
      shapes: [{ type: "line", x0: kept, x1: kept, yref: "paper", y0: 0, y1: 1, line: { color: style("--quiet"), dash: "dot", width: 1.5 } }],
      annotations: [{ x: kept, yref: "paper", y: 1, yanchor: "bottom", text: "kept", showarrow: false, font: { color: style("--quiet") } }] };
  };
  return draw(place, data, plan);
}

// The same metric of several jobs.
export function showTogether(place, jobs, metric) {
  const scale = metric.endsWith("accuracy") ? 100 : 1;
  const data = () => jobs.map(({ title, epochs }, index) => ({
    x: epochs.map((each) => each.epoch), y: epochs.map((each) => (each[metric] === null ? null : scale * each[metric])),
    name: escaped(title), mode: epochs.length > 1 ? "lines" : "markers",
    line: { color: (isDark() ? DARK : LIGHT)[index % LIGHT.length], width: 2, dash: dashOf(index) },
    hovertemplate: `%{fullData.name}<br>epoch %{x}: %{y:.${scale === 100 ? 2 : 4}f}<extra></extra>`,
  }));
  return draw(place, data, () => layout(TITLES[metric], metric, longest(jobs.map((job) => job.epochs))));
}
