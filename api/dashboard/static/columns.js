// Which columns of the list of jobs are shown: chosen in its menu, and stored in this browser. A classic script in
// the page's head, so that it is applied before the first paint.

{
  const STORAGE_KEY = "regbench-hidden-columns";
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  let hidden = [];

  // A browser may forbid storage: the choice then applies to this page only.
  const load = () => { try { return JSON.parse(localStorage.getItem(STORAGE_KEY)) ?? []; } catch { return hidden; } };
  const store = () => { try { localStorage.setItem(STORAGE_KEY, JSON.stringify(hidden)); } catch { /* as above */ } };
  const getBoxes = () => [...document.querySelectorAll("[data-shows]")];

  const apply = (names) => {
    hidden = Array.isArray(names) ? names.map(String) : [];
    sheet.replaceSync(hidden.map((name) => `[data-column="${CSS.escape(name)}"] { display: none !important; }`).join("\n"));
    for (const box of getBoxes()) box.checked = !hidden.includes(box.dataset.shows);
  };

  apply(load());
  // Chosen in another tab, or on a page from which the back button has returned.
  addEventListener("storage", ({ key }) => { if (key === STORAGE_KEY || key === null) apply(load()); });
  addEventListener("pageshow", () => apply(load()));
  document.addEventListener("DOMContentLoaded", () => {
    apply(hidden);
    document.addEventListener("change", ({ target }) => {
      if (!target.matches("[data-shows]")) return;
      const { shows } = target.dataset;
      // Columns that this page does not have stay as they were.
      apply(target.checked ? hidden.filter((name) => name !== shows) : [...hidden, shows]);
      store();
    });
  });
}
