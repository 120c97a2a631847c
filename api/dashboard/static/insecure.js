// What browsers keep back from pages that come unencrypted from another machine, done without it.

export const randomKey = () => crypto.randomUUID?.()
  ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

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
  if (!copied) throw new Error("This browser copies nothing here.");
}

// A button that copies `text()`, and says so.
export function copies(button, text) {
  const usual = button.textContent;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    button.textContent = await copy(text()).then(() => "Copied", () => "Not copied: mark it yourself");
    setTimeout(() => { button.textContent = usual; }, 1500);
  });
}
