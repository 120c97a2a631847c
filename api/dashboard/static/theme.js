// Light, dark, or as the system has it: chosen in the header, kept in this browser. A plain script of the page's
// head, so that what was chosen holds before anything is painted.

{
  const KEPT = "regbench-theme";
  const root = document.documentElement;
  const select = () => document.getElementById("theme");

  // A browser may forbid storage: what is chosen then holds for this page alone.
  const kept = () => { try { return localStorage.getItem(KEPT); } catch { return root.dataset.theme; } };
  const keep = (theme) => { try { localStorage.setItem(KEPT, theme); } catch { /* as above */ } };

  const wear = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    if (select()) select().value = root.dataset.theme ?? "system";
    dispatchEvent(new Event("theme"));
  };

  wear(kept());
  // Chosen in another tab, or while this page lay behind the back button.
  addEventListener("storage", ({ key }) => { if (key === KEPT || key === null) wear(kept()); });
  addEventListener("pageshow", ({ persisted }) => { if (persisted) wear(kept()); });
  document.addEventListener("DOMContentLoaded", () => {
    select().value = root.dataset.theme ?? "system";
    select().addEventListener("change", () => { keep(select().value); wear(select().value); });
    select().closest("[hidden]").hidden = false;
  });
}
