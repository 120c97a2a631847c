// Saves a chart as it is seen, with its legend, as SVG with text or as PNG.

import { s } from "./elements.js";
import { download } from "./export.js";

const STYLES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "opacity", "font-size", "font-weight", "font-family"];
const LEGEND_LINE = 20;
const PIXEL_RATIO = 2;

// A copy that needs no style sheet: what the classes say becomes attributes.
function buildImage({ svg, legend, container, box: { width, height } }) {
  const entries = [...legend.querySelectorAll("[aria-pressed=true]")];
  const column = Math.min(width - 16, 56 + 8 * Math.max(0, ...entries.map(({ textContent }) => textContent.length)));
  const columns = Math.max(1, Math.floor(width / column));
  const total = height + LEGEND_LINE * Math.ceil(entries.length / columns) + 10;
  const image = s("svg", { xmlns: "http://www.w3.org/2000/svg", width, height: total, viewBox: `0 0 ${width} ${total}` },
    s("rect", { width, height: total, fill: getComputedStyle(container).backgroundColor }), [...svg.children].filter((part) => !part.matches(".cursor")).map(copy));
  entries.forEach((entry, index) => {
    const swatch = copy(entry.querySelector("line"));
    const text = s("text", { x: 36, y: 9 }, entry.textContent);
    const style = getComputedStyle(entry);
    for (const [name, value] of Object.entries({ fill: style.color, "font-size": 13, "font-family": style.fontFamily })) text.setAttribute(name, value);
    image.append(s("g", { transform: `translate(${8 + (index % columns) * column} ${height + 4 + LEGEND_LINE * Math.floor(index / columns)})` }, swatch, text));
  });
  return { text: new XMLSerializer().serializeToString(image), width, height: total };
}

function copy(element) {
  const clone = element.cloneNode(false);
  const style = getComputedStyle(element);
  for (const name of STYLES) clone.setAttribute(name, style.getPropertyValue(name));
  for (const name of ["class", "data-line"]) clone.removeAttribute(name);
  clone.append(...[...element.childNodes].map((child) => (child.nodeType === Node.TEXT_NODE ? child.cloneNode() : copy(child))));
  return clone;
}

export const saveSvg = (state, name) => download(`${name}.svg`, new Blob([buildImage(state).text], { type: "image/svg+xml" }));

export async function savePng(state, name) {
  const { text, width, height } = buildImage(state);
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [PIXEL_RATIO * width, PIXEL_RATIO * height];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  canvas.toBlob((blob) => download(`${name}.png`, blob));
}
