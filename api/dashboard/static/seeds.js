// Seeds as users write them: "0-9, 12".

const MAX_SEEDS = 1000;

export function readSeeds(text) {
  return text.split(/[\s,]+/).filter(Boolean).flatMap((part) => {
    const range = /^(\d+)-(\d+)$/.exec(part);
    // Invalid text is sent unchanged: the service explains what is wrong with it.
    if (!range) return [/^\d+$/.test(part) ? Number(part) : part];
    const [from, to] = [Number(range[1]), Number(range[2])];
    if (to < from) return [part];
    // One more than the maximum, so that the service reports the excess.
    return Array.from({ length: Math.min(to - from, MAX_SEEDS) + 1 }, (_, index) => from + index);
  });
}

export function writeSeeds(seeds) {
  const parts = [];
  for (const seed of seeds) {
    const last = parts.at(-1);
    if (last && seed === last[1] + 1) last[1] = seed;
    else parts.push([seed, seed]);
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(", ");
}
