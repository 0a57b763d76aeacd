/**
 * Keeps a part of the page fresh: an element with `data-refresh` (where its HTML comes from) and `data-every` (seconds)
 * is replaced by what the server says, until the server's answer no longer asks for it.
 */

/** @param {HTMLElement} element */
function watch(element) {
  setTimeout(() => refresh(element), 1000 * Number(element.dataset.every));
}

/** @param {HTMLElement} element */
async function refresh(element) {
  if (document.hidden) return watch(element);
  const response = await ask(element.dataset.refresh);
  if (response?.redirected || response?.status === 401) return location.reload(); // the session has ended
  document.getElementById("connection").hidden = Boolean(response?.ok);
  if (!response?.ok) return watch(element);
  const fresh = parse(await response.text());
  replace(element, fresh);
  if (fresh.dataset.refresh) watch(fresh);
}

/** The answer, or null where there is no connection: `fetch` says so by a TypeError. */
async function ask(url) {
  try {
    return await fetch(url, { headers: { Accept: "text/html" } });
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** @returns {HTMLElement} */
function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.querySelector("[id]");
}

/** Whoever stands on a link inside by keyboard keeps standing there. */
function replace(element, fresh) {
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  element.replaceWith(fresh);
  if (focused) document.getElementById(focused)?.focus();
}

for (const element of document.querySelectorAll("[data-refresh]")) watch(element);
