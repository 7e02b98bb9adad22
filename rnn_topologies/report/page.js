// Draws the charts, and shows one row's part of the page when its button is pressed.
const views = [];
const drawing = [...document.querySelectorAll("[data-chart]")].map(async (place) => {
  const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  const { view } = await vegaEmbed(place, spec, { renderer: "svg", actions: false });
  views.push(view);
});

const buttons = [...document.querySelectorAll("button[data-row]")];
const showAll = document.getElementById("show-all");

function choose(key, name) {
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(button.dataset.row === key));
    button.closest("tr").classList.toggle("chosen", button.dataset.row === key);
  }
  for (const part of document.querySelectorAll("[data-rows]")) {
    part.hidden = key !== "" && !part.dataset.rows.split(" ").includes(key);
  }
  for (const view of views) {
    if (view.getState({ signals: (name) => name === "chosen" }).signals.chosen !== undefined) {
      view.signal("chosen", key).runAsync();
    }
  }
  document.getElementById("shown").textContent = key ? `Only ${name} is shown.` : "All is shown.";
  showAll.hidden = key === "";
}

for (const button of buttons) {
  const toggle = () => {
    const pressed = button.getAttribute("aria-pressed") === "true";
    choose(pressed ? "" : button.dataset.row, button.dataset.name);
  };
  button.addEventListener("click", (event) => { event.stopPropagation(); toggle(); });
  button.closest("tr").addEventListener("click", toggle);
}
showAll.addEventListener("click", () => choose("", ""));
Promise.all(drawing).then(() => document.body.classList.add("drawn"));
