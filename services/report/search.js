"use strict";
// Shows the rollouts that hold every word of the search, of the chosen run and objective.
const form = document.getElementById("search");
const rollouts = [...document.querySelectorAll("article.rollout")];
const texts = rollouts.map((rollout) => rollout.textContent.toLowerCase());
const count = document.getElementById("found");

function show() {
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const run = form.elements.run.value;
  const objective = form.elements.objective.value;
  let found = 0;
  rollouts.forEach((rollout, index) => {
    const fits =
      (!run || rollout.dataset.run === run) &&
      (!objective || rollout.dataset.objective === objective) &&
      words.every((word) => texts[index].includes(word));
    rollout.hidden = !fits;
    found += fits ? 1 : 0;
  });
  count.textContent = `${found} of ${rollouts.length}`;
}

form.hidden = false;
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
show();
