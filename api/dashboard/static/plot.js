// A chart as SVG, without a library: lines with bands and markers. It has a legend that highlights and hides lines, a
// tooltip with the values of all lines at the cursor, which all charts of a page with the same axis share, zoom by
// dragging, a logarithmic axis, images and a table of its numbers. Colours are classes of charts.css.

import { h, s } from "./elements.js";
import { chooseIntervalDigits } from "./numbers.js";
import { savePng, saveSvg } from "./save-chart.js";
import { computeRange, computeTicks, formatTick, makeScale } from "./scales.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [66, 14, 22, 46];
const COLOURS = 7;
// Stroke patterns distinguish lines without colour; 49 lines have distinct pairs of colour and pattern.
const DASHES = ["none", "8 4", "2 3", "8 4 2 4", "14 4", "14 4 2 4", "5 2"];
const MIN_DRAG = 8;
const MAX_TOOLTIP_LINES = 12;
const MAX_TABLE_ROWS = 500;

let plots = 0;

// Draws `plot` in `container`, or draws it again. Zoom, hidden lines and scale persist while `plot.key` is equal.
//   key, label; x: { title, type: linear, log or category, ticks: [[value, text]], whole: only integers };
//   y: { title, digits, range, log: whether it may be logarithmic }; empty: the text if there is no point;
//   lines: [{ name, series: index of the colour or null for a baseline, thin, hidden from the legend,
//   points: [{ x, y, low, high, hollow, note }] }]; between: shades between the first two lines; mark: { x, text };
//   robust: leaves extreme values out of the range; zero: draws the line of no difference; switches: [{ text, on, toggle }].
export function drawPlot(container, plot) {
  container.plot ??= buildParts(container);
  const state = container.plot;
  if (state.plot?.key !== plot.key) Object.assign(state, { zoom: null, all: false });
  state.plot = plot;
  state.categories = plot.x.type === "category" ? [...new Set(plot.lines.flatMap(({ points }) => points.map(({ x }) => x)))] : null;
  render(state);
}

function buildParts(container) {
  plots += 1;
  const state = { container, id: `plot-${plots}`, hidden: new Set(), log: false, all: false, zoom: null };
  const button = (text, action) => h("button", { type: "button", class: "small", onclick: action }, text);
  const toggle = (name) => () => { state[name] = !state[name]; render(state); };
  const name = () => `${container.id || "chart"}-${state.plot.key}`;
  state.svg = s("svg", { class: "plot", tabindex: 0, role: "img" });
  state.tooltip = h("div", { class: "plot-tooltip", hidden: true });
  state.legend = h("ul", { class: "plot-legend" });
  state.logButton = button("Log scale", toggle("log"));
  state.allButton = button("All values", toggle("all"));
  state.resetButton = button("Reset zoom", () => { state.zoom = null; render(state); state.svg.focus(); });
  state.switches = h("span", {});
  state.note = h("p", { class: "help", role: "status" });
  state.table = h("details", { ontoggle: () => fillTable(state) }, h("summary", {}, "Numbers"), h("div", {}));
  container.replaceChildren(
    h("div", { class: "plot-tools" }, state.logButton, state.allButton, state.switches, state.resetButton,
      h("span", { class: "plot-save" }, button("SVG", () => saveSvg(state, name())), button("PNG", () => savePng(state, name())))),
    state.svg, state.tooltip, state.legend, state.note, state.table);
  listen(state);
  new ResizeObserver(() => { if (state.plot && state.width !== container.clientWidth) render(state); }).observe(container);
  return state;
}

const isVisible = (state, line) => !state.hidden.has(line.parent ?? line.name);
const getLines = (state) => state.plot.lines.filter((line) => isVisible(state, line));
const getX = (state, value) => (state.categories ? state.categories.indexOf(value) : value);

function render(state) {
  const { svg, plot, container, categories } = state;
  // In a tab that is not shown: the ResizeObserver draws it when it is. To ask for its width would have the browser lay
  // out the page at once, with all that has just been added to it.
  state.width = container.closest("[hidden]") ? 0 : container.clientWidth;
  if (!state.width) return;
  const [width, height] = [Math.max(state.width, 240), state.width < 480 ? 260 : 330];
  const points = getLines(state).flatMap((line) => line.points);
  const isShown = ({ y }) => y !== null && (!state.log || y > 0);
  const log = state.log && plot.y.log !== false;
  const whole = state.zoom ?? computeRange(points.filter(isShown).map(({ x }) => getX(state, x)), { log: plot.x.type === "log", margin: plot.lines.some(({ markers }) => markers) ? 0.03 : 0 }).range;
  const xRange = categories ? [-0.5, categories.length - 0.5] : whole;
  const inView = points.filter((point) => isShown(point) && getX(state, point.x) >= xRange[0] && getX(state, point.x) <= xRange[1]);
  // Between two points a zoomed chart still has their line.
  const drawn = inView.length ? inView : points.filter(isShown);
  const spans = drawn.map(({ y, low, high }) => [low ?? y, y, high ?? y]);
  const values = spans.flat();
  const measured = computeRange([...values, ...(plot.zero ? [0] : [])], { log, all: state.all || !plot.robust, margin: 0.05 });
  const yRange = plot.y.range && !log && !state.zoom ? plot.y.range : measured.range;
  Object.assign(state, {
    x: makeScale(xRange, [LEFT, width - RIGHT], plot.x.type === "log"), y: makeScale(yRange, [height - BOTTOM, TOP], log),
    box: { width, height }, xRange, positions: [...new Set(inView.map(({ x }) => x))].sort((one, other) => getX(state, one) - getX(state, other)),
  });
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height, "aria-label": `${plot.label}. Arrow keys move the cursor.` })) svg.setAttribute(name, value);
  svg.replaceChildren(...(values.length ? [renderAxes(state, yRange, log), renderContent(state, log)]
    : [s("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, plot.empty ?? "Nothing to draw.")]), s("g", { class: "cursor" }));
  // What a logarithmic axis cannot have is left out, not cut.
  const isOutside = (value) => (!log || value > 0) && (value < measured.range[0] || value > measured.range[1]);
  renderControls(state, measured.cuts && !plot.y.range ? spans.filter((span) => span.some(isOutside)).length : 0);
  fillTable(state);
  if (state.cursor !== undefined) showCursor(state, state.cursor);
}

function renderControls(state, outside) {
  const { plot } = state;
  state.logButton.hidden = plot.y.log === false;
  state.logButton.setAttribute("aria-pressed", String(state.log));
  state.allButton.hidden = !outside && !state.all;
  state.allButton.setAttribute("aria-pressed", String(state.all));
  state.resetButton.hidden = !state.zoom;
  state.note.textContent = outside && !state.all ? `${outside} extreme ${outside === 1 ? "value lies" : "values lie"} outside of the chart.` : "";
  const switches = plot.switches ?? [];
  if (state.switches.childElementCount !== switches.length)
    state.switches.replaceChildren(...switches.map(({ text }, index) =>
      h("button", { type: "button", class: "small", onclick: () => state.plot.switches[index].toggle() }, text)));
  switches.forEach(({ on }, index) => state.switches.children[index].setAttribute("aria-pressed", String(on)));
  const entries = plot.lines.filter(({ parent }) => !parent);
  const signature = JSON.stringify(entries.map(({ name, series }) => [name, series]));
  if (state.signature !== signature) state.legend.replaceChildren(...entries.map((line) => buildLegendEntry(state, line)));
  state.signature = signature;
  [...state.legend.children].forEach(({ firstChild }, index) => firstChild.setAttribute("aria-pressed", String(isVisible(state, entries[index]))));
}

const renderAxes = (state, yRange, log) => {
  const { plot, box: { width, height } } = state;
  const count = Math.max(3, Math.floor(width / 60));
  const xTicks = state.categories?.map((value, index) => [index, String(value)])
    ?? plot.x.ticks?.filter(([value]) => value >= state.xRange[0] && value <= state.xRange[1])
    ?? computeTicks(state.xRange, count, { log: plot.x.type === "log", whole: plot.x.whole }).map((value) => [value, formatTick(value)]);
  // Labels that would touch are left out.
  const apart = Math.ceil(xTicks.reduce((sum, [, text]) => sum + 7 * text.length + 12, 0) / (width - LEFT - RIGHT));
  return s("g", { class: "axes" },
    computeTicks(yRange, 6, { log }).map((value) => [
      s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: state.y(value), y2: state.y(value) }),
      s("text", { x: LEFT - 8, y: state.y(value) + 4, "text-anchor": "end" }, formatTick(value))]),
    xTicks.map(([value, text], index) => [
      s("line", { class: "grid", x1: state.x(value), x2: state.x(value), y1: TOP, y2: height - BOTTOM }),
      index % Math.max(apart, 1) === 0 && s("text", { x: state.x(value), y: height - BOTTOM + 17, "text-anchor": "middle" }, text)]),
    s("text", { class: "title", x: (LEFT + width - RIGHT) / 2, y: height - 6, "text-anchor": "middle" }, plot.x.title),
    s("text", { class: "title", x: 4, y: 13 }, plot.y.title));
};

function renderContent(state, log) {
  const { plot, box: { width, height }, id } = state;
  const marked = plot.mark && state.x(getX(state, plot.mark.x));
  const toPoint = (point, value = point.y) => `${state.x(getX(state, point.x)).toFixed(1)},${state.y(value).toFixed(1)}`;
  const usable = (line) => line.points.filter(({ y }) => y !== null && (!log || y > 0));
  const floor = (low) => (log && low <= 0 ? 10 ** Math.floor(Math.log10(Math.min(...plot.lines.flatMap(usable).map(({ y }) => y)))) : low);
  const renderLine = (line) => {
    const points = usable(line);
    const banded = points.filter(({ low }) => low !== null && low !== undefined);
    const markers = line.markers || points.length === 1 ? points : [];
    return s("g", { class: `${getSeriesClass(line)}${line.thin ? " thin" : ""}`, "data-line": line.parent ?? line.name },
      banded.length > 1 && s("polygon", { class: `band${plot.lines.filter(({ thin }) => !thin).length > COLOURS ? " faint" : ""}`,
        points: [...banded.map((point) => toPoint(point, point.high)), ...banded.toReversed().map((point) => toPoint(point, floor(point.low)))].join(" ") }),
      line.markers && banded.map((point) => s("line", { x1: state.x(getX(state, point.x)), x2: state.x(getX(state, point.x)), y1: state.y(floor(point.low)), y2: state.y(point.high) })),
      points.length > 1 && s("polyline", { class: "line", "stroke-dasharray": getDash(line), points: points.map((point) => toPoint(point)).join(" ") }),
      markers.map((point) => s("circle", { class: point.hollow ? "hollow" : "filled", cx: state.x(getX(state, point.x)), cy: state.y(point.y), r: 4.5 })));
  };
  const [first, second] = plot.lines;
  const inside = { x1: LEFT, x2: width - RIGHT, y1: TOP, y2: height - BOTTOM };
  return s("g", {},
    s("clipPath", { id }, s("rect", { x: LEFT, y: TOP - 5, width: width - LEFT - RIGHT, height: height - TOP - BOTTOM + 10 })),
    s("g", { "clip-path": `url(#${id})` },
      plot.zero && s("line", { ...inside, class: "reference", y1: state.y(0), y2: state.y(0) }),
      plot.between && second && s("polygon", { class: `band ${getSeriesClass(second)}`,
        points: [...usable(first).map((point) => toPoint(point)), ...usable(second).toReversed().map((point) => toPoint(point))].join(" ") }),
      getLines(state).toSorted((one, other) => Number(other.thin ?? false) - Number(one.thin ?? false)).map(renderLine)),
    plot.mark && [s("line", { ...inside, class: "reference", x1: marked, x2: marked }),
      s("text", { class: "mark", x: marked - 5, y: TOP + 12, "text-anchor": "end", "data-x": plot.mark.x }, plot.mark.text)]);
}

export const getSeriesClass = ({ series }) => (series === null ? "series-baseline" : `series-${series % COLOURS}`);
export const getDash = ({ series }) => (series === null ? "none" : DASHES[(series + Math.floor(series / COLOURS)) % DASHES.length]);

// ---- legend

function buildLegendEntry(state, line) {
  const highlight = (name) => state.svg.querySelectorAll("[data-line]").forEach((group) =>
    group.classList.toggle("dimmed", name !== null && group.dataset.line !== name));
  return h("li", {}, h("button", {
    type: "button", title: line.name,
    onclick: () => { if (!state.hidden.delete(line.name)) state.hidden.add(line.name); render(state); },
    onpointerenter: () => highlight(line.name), onfocus: () => highlight(line.name),
    onpointerleave: () => highlight(null), onblur: () => highlight(null),
  }, s("svg", { class: `swatch ${getSeriesClass(line)}`, width: 28, height: 10, "aria-hidden": "true" },
    s("line", { class: "line", x1: 0, x2: 28, y1: 5, y2: 5, "stroke-dasharray": getDash(line) })), h("span", {}, line.name)));
}

// ---- cursor

function listen(state) {
  const { svg } = state;
  let start = null;
  const toSvg = ({ clientX }) => ((clientX - svg.getBoundingClientRect().left) * state.box.width) / svg.getBoundingClientRect().width;
  const findNearest = (event) => state.positions.toSorted((one, other) => distance(one, event) - distance(other, event))[0];
  const distance = (value, event) => Math.abs(state.x(getX(state, value)) - toSvg(event));
  svg.addEventListener("pointermove", (event) => {
    shareCursor(state, findNearest(event));
    if (start === null || state.categories) return;
    const [left, right] = [start, toSvg(event)].sort((one, other) => one - other);
    svg.querySelector(".cursor").append(s("rect", { class: "selection", x: left, y: TOP, width: right - left, height: state.box.height - TOP - BOTTOM }));
  });
  svg.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse" && event.button === 0) start = toSvg(event); else shareCursor(state, findNearest(event)); });
  svg.addEventListener("pointerup", (event) => {
    const ends = [start ?? toSvg(event), toSvg(event)].sort((one, other) => one - other);
    start = null;
    if (ends[1] - ends[0] < MIN_DRAG || state.categories) return;
    state.zoom = ends.map((end) => state.x.invert(end));
    render(state);
  });
  svg.addEventListener("dblclick", () => { state.zoom = null; render(state); });
  for (const type of ["pointerleave", "blur"]) svg.addEventListener(type, () => { start = null; shareCursor(state, undefined); });
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") shareCursor(state, undefined);
    if (!(event.key in steps)) return;
    event.preventDefault();
    const last = state.positions.length - 1;
    const current = state.cursor === undefined ? (steps[event.key] > 0 ? -1 : last + 1) : state.positions.indexOf(state.cursor);
    const position = current + steps[event.key];
    shareCursor(state, state.positions[Math.min(Math.max(position, 0), last)]);
    state.note.textContent = state.tooltip.innerText.replaceAll("\n", " ");
  });
}

// Moves the cursor of every chart that has the same axis.
function shareCursor(source, value) {
  for (const { plot: state } of document.querySelectorAll(".chart"))
    if (state?.plot && state.plot.x.title === source.plot.x.title) showCursor(state, value, state === source);
}

function showCursor(state, value) {
  state.cursor = value;
  const group = state.svg.querySelector(".cursor");
  const rows = getLines(state).filter((line) => !line.thin)
    .map((line) => ({ line, point: line.points.find(({ x }) => x === value) })).filter(({ point }) => point && point.y !== null)
    .sort((one, other) => other.point.y - one.point.y);
  state.tooltip.hidden = !rows.length;
  group.replaceChildren();
  if (!rows.length) return;
  const left = state.x(getX(state, value));
  group.append(s("line", { class: "reference", x1: left, x2: left, y1: TOP, y2: state.box.height - BOTTOM }),
    ...rows.map(({ line, point }) => s("circle", { class: `filled ${getSeriesClass(line)}`, cx: left, cy: state.y(point.y), r: 3.5 })));
  state.tooltip.replaceChildren(h("b", {}, `${state.plot.x.title} ${formatX(state, value)}`),
    h("ul", {}, rows.slice(0, MAX_TOOLTIP_LINES).map(({ line, point }) => h("li", { class: getSeriesClass(line) }, h("span", {}, line.name), " ", h("b", {}, formatPoint(state, point))))),
    rows.length > MAX_TOOLTIP_LINES ? `and ${rows.length - MAX_TOOLTIP_LINES} more` : "");
  const right = left > state.box.width / 2;
  state.tooltip.style.top = `${state.svg.getBoundingClientRect().top - state.container.getBoundingClientRect().top + TOP}px`;
  state.tooltip.style.left = right ? "" : `${left + 10}px`;
  state.tooltip.style.right = right ? `${state.box.width - left + 10}px` : "";
}

const formatX = (state, value) => state.plot.x.ticks?.find(([tick]) => tick === value)?.[1] ?? String(value);

function formatPoint({ plot: { y: { digits: fewest } } }, { y, low, high, note }) {
  const bounded = low !== null && low !== undefined;
  const digits = bounded ? chooseIntervalDigits(y, [low, high], fewest) : fewest;
  const interval = !bounded ? "" : ` (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
  return `${y.toFixed(digits)}${interval}${note ? `, ${note}` : ""}`;
}

// ---- the numbers as a table

function fillTable(state) {
  if (!state.table.open) return;
  const lines = getLines(state);
  const values = [...new Set(lines.flatMap(({ points }) => points.map(({ x }) => x)))].sort((one, other) => getX(state, one) - getX(state, other));
  const cell = (line, value) => {
    const point = line.points.find(({ x, y }) => x === value && y !== null);
    return h("td", { class: "number" }, point ? formatPoint(state, point) : "");
  };
  state.table.lastChild.replaceChildren(
    h("div", { class: "scroll", role: "group", "aria-label": `Numbers: ${state.plot.y.title}`, tabindex: 0 }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, state.plot.x.title), lines.map(({ name }) => h("th", { scope: "col", class: "number" }, name)))),
      h("tbody", {}, values.slice(0, MAX_TABLE_ROWS).map((value) => h("tr", {}, h("th", { scope: "row" }, formatX(state, value)), lines.map((line) => cell(line, value))))))),
    values.length > MAX_TABLE_ROWS ? `The first ${MAX_TABLE_ROWS} of ${values.length}.` : "");
}
