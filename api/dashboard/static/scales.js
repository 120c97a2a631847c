// Scales of a chart's axes: ranges, ticks and positions.

import { formatNumber } from "./elements.js";

// Beyond this many interquartile ranges from the quartiles a value is an outlier that would flatten the rest.
const FENCE = 10;

// The range of `values`, without outliers unless `all`, and whether it cuts any.
export function computeRange(values, { log = false, all = true, margin = 0 } = {}) {
  const scaled = values.filter((value) => Number.isFinite(value) && (!log || value > 0)).map((value) => (log ? Math.log10(value) : value)).sort((one, other) => one - other);
  if (!scaled.length) return { range: log ? [1, 10] : [0, 1], cuts: false };
  const quantile = (share) => scaled[Math.round(share * (scaled.length - 1))];
  const reach = FENCE * (quantile(0.75) - quantile(0.25));
  const inside = all || !reach ? scaled : scaled.filter((value) => value >= quantile(0.25) - reach && value <= quantile(0.75) + reach);
  const [low, high] = [inside[0], inside.at(-1)];
  const padding = low === high ? Math.abs(low) * 0.05 || 0.5 : margin * (high - low);
  const range = [low - padding, high + padding];
  return { range: log ? range.map((end) => 10 ** end) : range, cuts: inside.length < scaled.length };
}

// From values to pixels; `invert` goes back.
export function makeScale([low, high], [from, to], log) {
  const [start, end] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
  const scale = (value) => from + (((log ? Math.log10(value) : value) - start) / (end - start)) * (to - from);
  scale.invert = (pixel) => {
    const value = start + ((pixel - from) / (to - from)) * (end - start);
    return log ? 10 ** value : value;
  };
  return scale;
}

// About `count` round values between the ends.
export function computeTicks([low, high], count, { log = false, whole = false } = {}) {
  if (log) return computeLogTicks(low, high, count);
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max([1, 2, 5, 10].find((factor) => factor * power >= raw) * power, whole ? 1 : 0);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(Math.floor(high / step + 1e-9) - first + 1, 0) }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

function computeLogTicks(low, high, count) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = Math.ceil((last - first) / count);
  const factors = last - first <= 1 ? [1, 2, 3, 4, 5, 6, 8] : last - first <= 3 ? [1, 2, 5] : [1];
  return Array.from({ length: last - first + 1 }, (_, index) => first + index).filter((power) => (power - first) % every === 0)
    .flatMap((power) => factors.map((factor) => Number((factor * 10 ** power).toPrecision(6)))).filter((value) => value >= low && value <= high);
}

export function formatTick(value) {
  const size = Math.abs(value);
  if (value !== 0 && (size < 0.001 || size >= 100_000)) return value.toExponential().replace("e+", "e");
  return formatNumber(Number(value.toFixed(6))).replace("-", "\u2212");
}
