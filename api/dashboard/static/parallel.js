// Parallel coordinates of a sweep: an axis for each parameter that variants differ in, and for what came of it.

import { h, s } from "./elements.js";

const OUTCOMES = [
  ["test accuracy, %", (metrics) => 100 * metrics.test_accuracy.mean],
  ["test loss", (metrics) => metrics.test_loss.mean],
  ["gap in loss", (metrics) => metrics.generalization_gap_loss.mean],
];
const [WIDTH, HEIGHT, TOP, BOTTOM, SIDE] = [760, 300, 40, 34, 60];
const FEWEST = 3;

// Null where there is no sweep: no number that takes three values or more.
export function parallel(report) {
  const variants = report.variants.filter((variant) => variant.metrics);
  const axes = [...parameterAxes(variants), ...OUTCOMES.map(([title, value]) =>
    axis(title, variants.map((variant) => value(variant.metrics))))];
  if (axes.length === OUTCOMES.length || variants.length < FEWEST) return null;
  const ranked = [...variants].sort((one, other) =>
    other.metrics.test_accuracy.mean - one.metrics.test_accuracy.mean);
  const said = h("p", { class: "help", role: "status" }, "Point at a line, or move to it with Tab, to see which variant it is.");
  const lines = variants.map((variant, index) => {
    const best = variant === ranked[0];
    const name = `${variant.name}: ${axes.map((each) => `${each.title} ${each.say(index)}`).join(", ")}`;
    return s("polyline", {
      points: axes.map((each, place) => `${x(place, axes)},${each.y(index)}`).join(" "),
      class: `sweep-line${best ? " best" : ""}${variant.is_baseline ? " baseline" : ""}`,
      id: `sweep-${index}`, tabindex: 0, role: "img", "aria-label": name,
      onpointerenter: () => { said.textContent = name; },
      onfocus: () => { said.textContent = name; },
    });
  });
  return h("section", { "aria-labelledby": "sweep-title" },
    h("h2", { id: "sweep-title" }, "The sweep at a glance"),
    h("p", { class: "help sideways" }, "Wider than this screen: scroll it sideways \u2192"),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "sweep-title", tabindex: 0 },
      s("svg", { class: "sweep", viewBox: `0 0 ${WIDTH} ${HEIGHT}` },
        axes.map((each, place) => drawnAxis(each, x(place, axes), place === 0 || place === axes.length - 1)), lines)),
    said,
    h("p", { class: "help" }, "Each line is a variant. Thick: the best test accuracy; dashed: the baseline. Off: without this technique."));
}

const x = (place, axes) => SIDE + (place * (WIDTH - 2 * SIDE)) / (axes.length - 1);

function parameterAxes(variants) {
  const names = new Set(variants.flatMap((variant) =>
    Object.entries(variant.regularization).flatMap(([technique, parameters]) =>
      Object.entries(parameters).filter(([, value]) => typeof value === "number").map(([name]) => `${technique}.${name}`))));
  return [...names]
    .map((name) => [name, variants.map((variant) => {
      const [technique, parameter] = name.split(".");
      return variant.regularization[technique]?.[parameter] ?? null;
    })])
    .filter(([, values]) => new Set(values.filter((value) => value !== null)).size >= FEWEST)
    .map(([name, values]) => axis(name.replaceAll("_", " ").replace(".", ": "), values));
}

// Logarithmic where values of several powers of ten are on it; `null` lies below it, at "off".
function axis(title, values) {
  const there = values.filter((value) => value !== null);
  const [least, most] = [Math.min(...there), Math.max(...there)];
  const logarithmic = least > 0 && most / least >= 50;
  const scaled = (value) => (logarithmic ? Math.log(value) : value);
  const off = values.includes(null);
  const floor = HEIGHT - BOTTOM - (off ? 24 : 0);
  const share = (value) => (most === least ? 0.5 : (scaled(value) - scaled(least)) / (scaled(most) - scaled(least)));
  const place = (value) => (value === null ? HEIGHT - BOTTOM : floor - share(value) * (floor - TOP));
  return {
    title, off, floor,
    least: short(least), most: short(most),
    y: (index) => place(values[index]).toFixed(1),
    say: (index) => (values[index] === null ? "off" : short(values[index])),
  };
}

const short = (value) => {
  const rounded = Number(value.toPrecision(4));
  return rounded !== 0 && Math.abs(rounded) < 0.001 ? rounded.toExponential() : rounded.toString();
};

// `outer`: the first and the last; their labels stand on their left, where there is no line or the only room.
function drawnAxis(each, at, outer) {
  const label = outer ? { x: at - 5, "text-anchor": "end" } : { x: at + 5 };
  return s("g", { class: "sweep-axis" },
    s("line", { x1: at, x2: at, y1: TOP, y2: each.floor }),
    s("text", { x: at, y: 12, "text-anchor": "middle", class: "name" }, each.title),
    s("text", { ...label, y: TOP - 6 }, each.most),
    s("text", { ...label, y: each.floor + 13 }, each.least),
    each.off ? s("text", { ...label, y: HEIGHT - BOTTOM + 14 }, "off") : null);
}
