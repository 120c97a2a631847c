// Tables as files.

// A spreadsheet would run what begins like a formula, and names come from users; a number is none.
const safe = (text) => (/^[=+\-@]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
const quoted = (text) => `"${safe(text).replaceAll('"', '""')}"`;

// Lets the browser save lines of cells, all of them texts, as a CSV file.
export function saveCsv(name, lines) {
  const text = lines.map((line) => line.map(quoted).join(",")).join("\r\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
