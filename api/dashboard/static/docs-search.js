// The search on /docs: operations whose title or fields contain every word; of a field's match, only such fields.

const field = document.getElementById("search");
const status = document.getElementById("search-status");
const operations = [...document.querySelectorAll("#operations details")].map((details) => ({
  details,
  title: details.querySelector("summary").textContent.toLowerCase(),
  text: [...details.querySelectorAll("p")].map((paragraph) => paragraph.textContent.toLowerCase()).join(" "),
  rows: [...details.querySelectorAll("tr")].map((row) => ({ row, text: row.textContent.toLowerCase() })),
}));

const search = () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const contains = (text) => words.every((word) => text.includes(word));
  let operationCount = 0;
  let fieldCount = 0;
  for (const { details, title, text, rows } of operations) {
    const isWhole = contains(`${title} ${text}`);
    const matches = rows.filter((entry) => contains(`${title} ${entry.text}`));
    for (const entry of rows) entry.row.hidden = !isWhole && !matches.includes(entry);
    details.hidden = !isWhole && !matches.length;
    details.open = words.length > 0 && !isWhole && matches.length > 0;
    operationCount += !details.hidden;
    fieldCount += isWhole ? 0 : matches.length;
  }
  for (const section of document.querySelectorAll("#operations section")) section.hidden = !section.querySelector("details:not([hidden])");
  const fields = fieldCount ? `, ${fieldCount} matching fields or answers` : "";
  status.textContent = words.length ? `${operationCount} of ${operations.length} operations${fields}` : "";
};

field.addEventListener("input", search);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== field) { event.preventDefault(); field.focus(); }
  if (event.key === "Escape" && document.activeElement === field) { field.value = ""; search(); }
});
field.closest("[hidden]").hidden = false;
search();
