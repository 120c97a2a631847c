// Copies text, also where navigator.clipboard is missing: on pages over plain HTTP from another machine.

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  if (!copied) throw new Error("Copying is not available in this browser.");
}

// Lets a button copy `getText()` and report the outcome in its label.
export function addCopyAction(button, getText) {
  const label = button.textContent;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    button.textContent = await copy(getText()).then(() => "Copied", () => "Not copied: select and copy the text");
    setTimeout(() => { button.textContent = label; }, 1500);
  });
}
