// The form of filters above a list.

// `defaults`: values that the address leaves out.
export function submitFilters(form, defaults) {
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (!value || defaults[name] === value) formData.delete(name);
  });
  // A choice by pointer is applied at once; the arrow keys pass through other choices first.
  let byKeys = false;
  form.addEventListener("keydown", () => { byKeys = true; });
  form.addEventListener("pointerdown", () => { byKeys = false; });
  form.addEventListener("change", ({ target }) => { if (target.tagName === "SELECT" && !byKeys) form.requestSubmit(); });
}
