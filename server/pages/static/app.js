// Every view is a GET URL. This module only makes going from one to the next quicker, and adds what HTML has not.

let latest = 0;

async function go(url, push = true) {
  const turn = ++latest;
  const main = document.querySelector("main");
  main.classList.add("busy");
  try {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    if (!answer.headers.get("content-type")?.startsWith("text/html")) { location.href = url; return; }
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (turn !== latest) return; // a later one is on its way
    if (push) history.pushState(null, "", answer.url);
    document.title = next.title;
    for (const part of ["main", "header.top nav"]) document.querySelector(part).replaceWith(next.querySelector(part));
    const field = document.querySelector("#q");
    if (document.activeElement !== field) field.value = next.querySelector("#q").value;
    if (push && document.activeElement !== field) scrollTo(0, 0);
  } catch {
    location.href = url;
  }
}

const isOurs = (url) => url.origin === location.origin;

document.addEventListener("click", (event) => {
  const copied = event.target.closest("[data-copy]");
  if (copied) {
    navigator.clipboard?.writeText(copied.dataset.copy);
    copied.textContent = "copied";
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
  if (!isOurs(url) || (url.hash && url.pathname === location.pathname && url.search === location.search)) return;
  if (link.closest("[data-plain]")) return;
  event.preventDefault();
  go(url);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get") return;
  event.preventDefault();
  const url = new URL(form.getAttribute("action") || location.pathname, location.href);
  url.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "")).toString();
  go(url);
});

let pause;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  clearTimeout(pause);
  pause = setTimeout(() => form.requestSubmit(), 250);
});

document.addEventListener("change", (event) => {
  if (event.target.closest("form[data-auto]")) event.target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  document.querySelector("#q").focus();
});

document.addEventListener("pointermove", (event) => {
  const chart = event.target.closest?.(".chart");
  if (!chart) return;
  const output = chart.querySelector("output");
  const dot = event.target.closest("[data-value]");
  if (output) output.textContent = dot ? dot.dataset.value : "";
});

addEventListener("popstate", () => go(location.href, false));
