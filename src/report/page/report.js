"use strict";
// The page is whole without this script: it only filters, pages and sorts.
(() => {
  const PAGE = 24;

  function samples() {
    const form = document.querySelector("form.filter");
    const cards = [...document.querySelectorAll(".card")];
    if (!form || cards.length === 0) return;
    const more = document.querySelector(".more");
    const texts = cards.map((card) => card.textContent.toLowerCase());
    let limit = PAGE;

    function show() {
      const { text, verdict, instruction } = form.elements;
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let matching = 0;
      cards.forEach((card, index) => {
        const fits = (!verdict.value || card.dataset.verdict === verdict.value)
          && (!instruction.value || card.dataset.instruction === instruction.value)
          && words.every((word) => texts[index].includes(word));
        matching += fits ? 1 : 0;
        card.hidden = !fits || matching > limit;
      });
      form.querySelector("output").textContent = `${matching} of ${cards.length} match`;
      more.hidden = matching <= limit;
    }

    form.addEventListener("input", () => { limit = PAGE; show(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    more.querySelector("button").addEventListener("click", () => { limit += PAGE; show(); });
    form.hidden = false;
    show();
  }

  function sortable(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();

    function sort(column) {
      const head = heads[column];
      const numeric = [...body.rows].every((row) => row.cells[column].dataset.v !== undefined);
      const before = head.getAttribute("aria-sort");
      // Numbers are asked for from the top, texts from A.
      const down = before ? before === "ascending" : numeric;
      const order = (a, b) => numeric ? a - b : a.localeCompare(b);
      const rows = [...body.rows].sort((a, b) => order(value(a, column), value(b, column)) * (down ? -1 : 1));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows);
    }

    heads.forEach((head, column) => {
      if (head.dataset.plain !== undefined) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(column));
      head.append(button);
    });
  }

  samples();
  document.querySelectorAll("table.sortable").forEach(sortable);
})();
