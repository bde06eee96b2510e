// Every view is a GET URL. This module only makes going from one to the next quicker, and adds what HTML has not.

history.scrollRestoration = "manual"; // what is gone back to is fetched first

let latest = 0; // turn of the page that was asked for last
let pause; // before what is typed is sent
let typing = null; // the form whose text led here
let shown = location.pathname + location.search;

const keep = () => history.replaceState({ ...history.state, y: scrollY }, "");
const below = () => scrollTo(0, history.state?.y ?? 0);

/** Show a page: as a new entry of the history ("push"), instead of this one ("replace"), or as one that is there ("back"). */
async function go(url, how = "push", form = null) {
  clearTimeout(pause);
  typing = form;
  const turn = ++latest;
  document.querySelector("main").classList.add("busy");
  try {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    if (!answer.headers.get("content-type")?.startsWith("text/html")) { location.href = url; return; }
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (turn !== latest) return; // a later one is on its way
    const { hash } = new URL(url, location.href);
    if (how === "push") { keep(); history.pushState({}, "", answer.url + hash); }
    if (how === "replace") history.replaceState(history.state, "", answer.url);
    shown = location.pathname + location.search;
    show(next);
    if (how === "back") below();
    else if (hash) document.getElementById(hash.slice(1))?.scrollIntoView();
    else if (!form) scrollTo(0, 0);
  } catch {
    location.href = url;
  }
}

/** Put another page's content here; what is being typed, and where the cursor is, stays. */
function show(next) {
  const held = document.activeElement, search = document.querySelector("#q");
  const inside = held.closest("main") && held.name ? [held.localName, held.name, held.form?.getAttribute("action")] : null;
  document.title = next.title;
  for (const part of ["main", "header.top nav"]) document.querySelector(part).replaceWith(next.querySelector(part));
  if (held === search) return;
  search.value = next.querySelector("#q").value;
  const main = document.querySelector("main");
  const same = inside && [...main.querySelectorAll(inside[0])].find((e) => e.name === inside[1] && e.form?.getAttribute("action") === inside[2]);
  (same || main).focus({ preventScroll: true });
  if (same?.type !== "search") return;
  same.value = held.value;
  same.setSelectionRange(held.selectionStart, held.selectionEnd);
}

function send(form, live = false) {
  const url = new URL(form.getAttribute("action") || location.pathname, location.href);
  url.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "")).toString();
  const what = live ? url.pathname : null;
  go(url, live && typing === what ? "replace" : "push", what);
}

/** Copy a text, also where a page is not allowed the clipboard, as on plain HTTP; return whether that was done. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

document.addEventListener("click", async (event) => {
  const copied = event.target.closest("[data-copy]");
  if (copied) {
    copied.textContent = (await copy(copied.dataset.copy)) ? "copied" : "not copied";
    copied.focus();
    setTimeout(() => { copied.textContent = "copy"; }, 1200);
    return;
  }
  if (event.target.closest("#theme")) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
    return;
  }
  const link = event.target.closest("a[href]");
  if (!link || link.target || link.hasAttribute("download") || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const url = new URL(link.getAttribute("href"), location.href);
  if (url.origin !== location.origin || link.closest("[data-plain]")) return;
  if (url.hash && url.pathname + url.search === shown) { keep(); return; }
  event.preventDefault();
  go(url);
});

document.addEventListener("submit", (event) => {
  if (event.target.method !== "get") return;
  event.preventDefault();
  send(event.target);
});

document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  clearTimeout(pause);
  pause = setTimeout(() => send(form, true), 250);
});

document.addEventListener("change", (event) => {
  if (event.target.closest("form[data-auto]")) event.target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), textarea, select")) return;
  event.preventDefault();
  const search = document.querySelector("#q");
  search.focus();
  search.select();
});

/** Tell the value that is nearest to the pointer, of the chart that it is in. */
document.addEventListener("pointermove", (event) => {
  const chart = event.target.closest?.(".chart");
  for (const each of document.querySelectorAll(".chart .near")) each.classList.remove("near");
  for (const each of document.querySelectorAll(".chart output")) if (!chart?.contains(each)) each.textContent = "";
  const away = (dot) => { const box = dot.getBoundingClientRect(); return Math.abs(box.x + box.width / 2 - event.clientX); };
  const nearest = [...(chart?.querySelectorAll("[data-value]") ?? [])].reduce((a, b) => (a && away(a) <= away(b) ? a : b), null);
  if (!nearest) return;
  nearest.classList.add("near");
  chart.querySelector("output").textContent = nearest.dataset.value;
});

addEventListener("popstate", () => (location.pathname + location.search === shown ? below() : go(location.href, "back")));
addEventListener("pagehide", keep);
below();
