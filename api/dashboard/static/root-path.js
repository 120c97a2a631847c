// The path prefix under which a proxy serves the pages.

const ROOT = document.documentElement.dataset.root;

// An absolute path of the service as this browser reaches it; one that has the prefix already stays.
export const addRoot = (path) => (!path.startsWith("/") || path.startsWith(ROOT) ? path : `${ROOT}${path.slice(1)}`);

// The opposite.
export const removeRoot = (path) => (path.startsWith(ROOT) ? `/${path.slice(ROOT.length)}` : path);
