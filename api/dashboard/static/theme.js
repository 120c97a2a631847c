// The theme: light, dark or the system's, chosen in the header and stored in this browser. A classic script in the
// page's head, so that it is applied before the first paint.

{
  const STORAGE_KEY = "regbench-theme";
  const root = document.documentElement;
  const getSelect = () => document.getElementById("theme");

  // A browser may forbid storage: the choice then applies to this page only.
  const load = () => { try { return localStorage.getItem(STORAGE_KEY); } catch { return root.dataset.theme; } };
  const store = (theme) => { try { localStorage.setItem(STORAGE_KEY, theme); } catch { /* as above */ } };

  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    if (getSelect()) getSelect().value = root.dataset.theme ?? "system";
    dispatchEvent(new Event("theme"));
  };

  apply(load());
  // Chosen in another tab, or on a page from which the back button has returned.
  addEventListener("storage", ({ key }) => { if (key === STORAGE_KEY || key === null) apply(load()); });
  addEventListener("pageshow", ({ persisted }) => { if (persisted) apply(load()); });
  document.addEventListener("DOMContentLoaded", () => {
    getSelect().value = root.dataset.theme ?? "system";
    getSelect().addEventListener("change", () => { store(getSelect().value); apply(getSelect().value); });
    getSelect().closest("[hidden]").hidden = false;
  });
}
