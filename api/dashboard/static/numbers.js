// Numbers as reports write them, by the rules of models/metrics.py.

// What is rounded to zero has no sign.
export function formatSigned(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value > 0 ? "+" : "\u2212"}${text}`;
}

// `fewest` digits after the point, or two significant ones of the largest value if those would show none.
export function chooseDigits(values, fewest) {
  const largest = Math.max(0, ...values.map((value) => Math.abs(value ?? 0)));
  const first = largest ? -Math.floor(Math.log10(largest)) : 0;
  return first <= fewest ? fewest : first + 1;
}

// The same, and a few more if that shows on which side of zero the nearer end lies; unknown ends are null or undefined.
export function chooseIntervalDigits(mean, ends, fewest) {
  const digits = chooseDigits([mean, ...ends], fewest);
  const nearer = Math.min(...ends.filter(Boolean).map(Math.abs));
  return [0, 1, 2, 3].map((more) => digits + more).find((more) => Number(nearer.toFixed(more)) > 0) ?? digits;
}
