// Draws the charts, and filters the page when a row of the table is clicked.
const views = [];
const drawing = [...document.querySelectorAll("[data-chart]")].map(async (element) => {
  const spec = JSON.parse(document.getElementById(element.dataset.chart).textContent);
  const { view } = await vegaEmbed(element, spec, { renderer: "svg", actions: false });
  views.push(view);
});

const buttons = [...document.querySelectorAll("button[data-row]")];
const showAll = document.getElementById("show-all");

// Shows the row with this key only; an empty key shows all rows.
function filterRows(key, name) {
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(button.dataset.row === key));
    button.closest("tr").classList.toggle("selected", button.dataset.row === key);
  }
  for (const element of document.querySelectorAll("[data-rows]")) {
    element.hidden = key !== "" && !element.dataset.rows.split(" ").includes(key);
  }
  for (const view of views) {
    const { signals } = view.getState({ signals: (name) => name === "selected" });
    if (signals.selected !== undefined) {
      view.signal("selected", key).runAsync();
    }
  }
  document.getElementById("filter").textContent = key
    ? `Showing ${name} only`
    : "Showing all runs; click a row to filter";
  showAll.hidden = key === "";
}

for (const button of buttons) {
  const toggle = () => {
    const isPressed = button.getAttribute("aria-pressed") === "true";
    filterRows(isPressed ? "" : button.dataset.row, button.dataset.name);
  };
  button.addEventListener("click", (event) => { event.stopPropagation(); toggle(); });
  button.closest("tr").addEventListener("click", toggle);
}
showAll.addEventListener("click", () => filterRows("", ""));
Promise.all(drawing).then(() => document.body.classList.add("drawn"));
