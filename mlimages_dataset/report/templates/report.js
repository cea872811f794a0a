"use strict";
// The browser of the hierarchy. Only what is open is in the document, however many categories there are.
// Keys follow the ARIA Authoring Practices for trees and for editable comboboxes with a list.
(() => {
  const categories = JSON.parse(document.getElementById("categories").textContent);
  const { wnids, names, parents, other_parents: otherParents, source_sets: sourceSets, train, validation, absent, unknown } = categories;
  const SHOWN_RESULTS = 50;
  const OPEN_AT_FIRST = 200; // roots with more children stay closed until asked
  const tree = document.getElementById("tree");
  const detail = document.getElementById("detail");
  const search = document.getElementById("search");
  const results = document.getElementById("results");
  const found = document.getElementById("found");
  const order = document.getElementById("order");

  const indexOfWnid = new Map(wnids.map((wnid, index) => [wnid, index]));
  const children = wnids.map(() => []);
  const roots = [];
  parents.forEach((parent, index) => (parent < 0 ? roots : children[parent]).push(index));
  const below = countBelow();
  const most = Math.log2(1 + train.reduce((a, b) => Math.max(a, b), 0)) || 1;
  const number = new Intl.NumberFormat("en");

  const shown = new Map(); // class index -> its element, for the categories that are in the document
  let current = -1;

  /** Returns how many categories lie below each one along primary parents. */
  function countBelow() {
    const ordered = [...roots];
    for (let at = 0; at < ordered.length; at += 1) ordered.push(...children[ordered[at]]);
    const counts = wnids.map(() => 0);
    for (const index of ordered.reverse()) {
      if (parents[index] >= 0) counts[parents[index]] += counts[index] + 1;
    }
    return counts;
  }

  const title = (index) => names[index].split(", ", 1)[0];
  const otherNames = (index) => names[index].split(", ").slice(1).join(", ");

  function element(tag, attributes, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...content);
    return made;
  }

  function ordered(indices) {
    const byName = (a, b) => title(a).localeCompare(title(b), "en");
    return [...indices].sort(order.value === "name" ? byName : (a, b) => train[b] - train[a] || byName(a, b));
  }

  function items(indices, level) {
    return ordered(indices).map((index, at, all) => {
      const share = Math.log2(1 + train[index]) / most;
      const row = element("div", { class: "row", style: `--level:${level}` });
      row.append(
        element("span", { class: "twist" }),
        element("span", { class: "label" }, title(index), element("small", {}, otherNames(index))),
      );
      if (below[index]) {
        row.append(element("span", { class: "below", title: "categories below" }, number.format(below[index])));
      }
      row.append(
        element("span", { class: `images${train[index] ? "" : " zero"}` }, number.format(train[index])),
        element("span", { class: `bar${train[index] ? "" : " none"}`, style: `--share:${share.toFixed(3)}` }),
      );
      const words = `${names[index]}: ${number.format(train[index])} training images`;
      const item = element("li", {
        role: "treeitem",
        "data-index": index,
        "aria-level": level + 1,
        "aria-posinset": at + 1,
        "aria-setsize": all.length,
        "aria-selected": "false",
        "aria-label": below[index] ? `${words}, ${number.format(below[index])} categories below` : words,
        tabindex: "-1",
      }, row);
      if (children[index].length) item.setAttribute("aria-expanded", "false");
      shown.set(index, item);
      return item;
    });
  }

  const isOpen = (index) => shown.get(index).getAttribute("aria-expanded") === "true";

  function open(index) {
    const item = shown.get(index);
    if (item.getAttribute("aria-expanded") !== "false") return;
    item.setAttribute("aria-expanded", "true");
    const level = Number(item.getAttribute("aria-level"));
    item.append(element("ul", { role: "group" }, ...items(children[index], level)));
  }

  function close(index) {
    if (!isOpen(index)) return;
    const item = shown.get(index);
    if (current !== index && item.contains(shown.get(current))) select(index);
    for (const inner of item.querySelectorAll("[role=treeitem]")) shown.delete(Number(inner.dataset.index));
    item.lastElementChild.remove();
    item.setAttribute("aria-expanded", "false");
  }

  function select(index) {
    const before = shown.get(current);
    if (before) {
      before.tabIndex = -1;
      before.setAttribute("aria-selected", "false");
    }
    current = index;
    const item = shown.get(index);
    item.tabIndex = 0;
    item.setAttribute("aria-selected", "true");
    describe(index);
    return item;
  }

  function move(index) {
    const item = select(index);
    item.focus({ preventScroll: true });
    item.firstElementChild.scrollIntoView({ block: "nearest" });
  }

  /** Returns the path from the root to a category along primary parents. */
  function path(index) {
    const steps = [index];
    while (parents[steps[0]] >= 0) steps.unshift(parents[steps[0]]);
    return steps;
  }

  function reveal(index) {
    path(index).slice(0, -1).forEach(open);
    tree.scrollIntoView({ block: "nearest" });
    move(index);
  }

  const link = (index, text) => element("a", { href: `#${encodeURIComponent(wnids[index])}` }, text);

  function describe(index) {
    const above = path(index).slice(0, -1);
    const others = otherParents[index] || [];
    const facts = [
      ["wnid", [link(index, wnids[index])]],
      ["class index", [String(index)]],
      ["training images", [number.format(train[index])]],
      ["without it (verified)", [number.format(absent[index])]],
      ["unknown", [number.format(unknown[index])]],
      ["validation images", [number.format(validation[index])]],
      ["categories below", [number.format(below[index])]],
      ["from", [sourceSets[categories.sources[index]]]],
    ];
    if (above.length) facts.push(["path", above.flatMap((step, at) => [at ? " › " : "", link(step, title(step))])]);
    if (others.length) facts.push(["also below", others.flatMap((one, at) => [at ? ", " : "", link(one, title(one))])]);
    const list = element("dl", {});
    for (const [name, content] of facts) list.append(element("dt", {}, name), element("dd", {}, ...content));
    detail.replaceChildren(element("h3", {}, title(index)), element("p", {}, otherNames(index)), list);
  }

  function draw() {
    const opened = [...shown.keys()].filter(isOpen);
    shown.clear();
    tree.replaceChildren(...items(roots, 0));
    opened.filter((index) => shown.has(index)).forEach(open);
    select(shown.has(current) ? current : ordered(roots)[0]);
  }

  function visible() {
    return [...tree.querySelectorAll("[role=treeitem]")].map((item) => Number(item.dataset.index));
  }

  function jump(letter) {
    const all = visible();
    const at = all.indexOf(current);
    const next = [...all.slice(at + 1), ...all.slice(0, at)].find((index) => title(index).toLowerCase().startsWith(letter));
    if (next !== undefined) move(next);
  }

  function step(by) {
    const all = visible();
    const next = all[all.indexOf(current) + by];
    if (next !== undefined) move(next);
  }

  const keys = {
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    ArrowRight: () => {
      if (isOpen(current)) step(1);
      else open(current);
    },
    ArrowLeft: () => {
      if (isOpen(current)) close(current);
      else if (parents[current] >= 0) move(parents[current]);
    },
    Home: () => move(visible()[0]),
    End: () => move(visible().at(-1)),
    Enter: toggle,
    " ": toggle,
  };

  function toggle() {
    if (isOpen(current)) close(current);
    else open(current);
  }

  tree.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (keys[event.key]) keys[event.key]();
    else if (event.key.length === 1) jump(event.key.toLowerCase());
    else return;
    event.preventDefault();
  });

  tree.addEventListener("click", (event) => {
    const item = event.target.closest("[role=treeitem]");
    if (!item || !event.target.closest(".row")) return;
    move(Number(item.dataset.index));
    if (event.target.closest(".twist")) toggle();
    else open(current);
  });

  order.addEventListener("change", draw);
  document.getElementById("collapse").addEventListener("click", () => {
    roots.forEach(close);
    select(ordered(roots)[0]);
  });

  // Search: the best fit first, then the category with more images.
  const lowered = names.map((name) => name.toLowerCase());
  let hits = [];
  let active = -1;

  function fit(index, text) {
    const at = lowered[index].indexOf(text);
    if (at < 0) return wnids[index].startsWith(text) ? 0 : -1;
    const lemmas = lowered[index].split(", ");
    if (lemmas.includes(text)) return 0;
    if (lemmas.some((lemma) => lemma.startsWith(text))) return 1;
    return at === 0 || /[^\p{L}\p{N}]/u.test(lowered[index][at - 1]) ? 2 : 3;
  }

  function look() {
    const text = search.value.trim().toLowerCase();
    const scored = text ? wnids.map((_, index) => [fit(index, text), index]).filter(([score]) => score >= 0) : [];
    scored.sort(([a, i], [b, j]) => a - b || train[j] - train[i] || i - j);
    hits = scored.slice(0, SHOWN_RESULTS).map(([, index]) => index);
    results.replaceChildren(...hits.map((index, at) => {
      const route = path(index).slice(0, -1).map(title).join(" › ");
      const where = route ? `${wnids[index]} · ${route}` : wnids[index];
      return element("li", { role: "option", id: `hit-${at}`, "aria-selected": "false" }, names[index], element("small", {}, where));
    }));
    const more = scored.length > hits.length ? `, ${hits.length} shown` : "";
    found.textContent = text ? `${number.format(scored.length)} found${more}` : "";
    show(hits.length > 0);
    activate(-1);
  }

  function show(yes) {
    results.hidden = !yes;
    search.setAttribute("aria-expanded", String(yes));
  }

  function activate(at) {
    if (results.children[active]) results.children[active].setAttribute("aria-selected", "false");
    active = at;
    const option = results.children[at];
    if (!option) {
      search.removeAttribute("aria-activedescendant");
      return;
    }
    option.setAttribute("aria-selected", "true");
    search.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  function choose(at) {
    show(false);
    reveal(hits[at]);
  }

  search.addEventListener("input", look);
  search.addEventListener("focus", () => show(hits.length > 0));
  search.addEventListener("blur", () => show(false));
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!hits.length) return;
      show(true);
      const from = active < 0 && event.key === "ArrowUp" ? 0 : active;
      activate((from + (event.key === "ArrowDown" ? 1 : -1) + hits.length) % hits.length);
    } else if (event.key === "Enter" && hits.length) {
      choose(Math.max(active, 0));
    } else if (event.key === "Escape") {
      if (results.hidden) search.value = "";
      look();
      show(false);
    } else {
      return;
    }
    event.preventDefault();
  });
  // On press, not on click: the field loses its focus in between, and the list with it.
  results.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    const option = event.target.closest("[role=option]");
    if (option) choose([...results.children].indexOf(option));
  });

  // Links to categories, from anywhere in the page and from outside it.
  // The id that a link names: browsers escape some signs of a user's own ids, and a link may hold a lone percent sign.
  function fragment(hash) {
    try {
      return decodeURIComponent(hash.slice(1));
    } catch {
      return hash.slice(1);
    }
  }

  function follow(hash) {
    const index = indexOfWnid.get(fragment(hash));
    if (index !== undefined) reveal(index);
  }
  document.addEventListener("click", (event) => {
    const anchor = event.target.closest("a[href^='#']");
    if (anchor) follow(anchor.getAttribute("href"));
  });
  window.addEventListener("hashchange", () => follow(location.hash));

  // What can be scrolled can be scrolled by keyboard, and nothing else is a stop.
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  document.querySelectorAll(".scroll").forEach((box) => watch.observe(box));

  if (!wnids.length) return;
  document.querySelector(".browser").hidden = false;
  draw();
  roots.filter((index) => children[index].length <= OPEN_AT_FIRST).forEach(open);
  follow(location.hash);
})();
