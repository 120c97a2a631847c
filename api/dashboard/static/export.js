// Saves files: tables as CSV.

// Names come from users, and a spreadsheet would execute text that begins like a formula, also after white space
// (OWASP's list, with the full-width characters); numbers are safe.
const neutralize = (text) => (/^([\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
const quote = (text) => `"${neutralize(text).replaceAll('"', '""')}"`;

// Downloads rows of text cells as a CSV file.
export function saveCsv(name, lines) {
  const text = lines.map((line) => line.map(quote).join(",")).join("\r\n");
  download(name, new Blob([text], { type: "text/csv" }));
}

export function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
