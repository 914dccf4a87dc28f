"use strict";
// The page is whole without this script: it only filters.
(() => {
  const form = document.querySelector("form.filter");
  const cards = [...document.querySelectorAll(".question")];
  if (!form) return;
  const texts = cards.map((card) => card.textContent.toLowerCase());
  const keys = ["strict", "paper", "consistency", "category"];

  function show() {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let matching = 0;
    cards.forEach((card, index) => {
      const fits = keys.every((key) => !form.elements[key].value || card.dataset[key] === form.elements[key].value)
        && words.every((word) => texts[index].includes(word));
      matching += fits ? 1 : 0;
      card.hidden = !fits;
    });
    form.querySelector("output").textContent = `${matching} of ${cards.length} match`;
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
})();
