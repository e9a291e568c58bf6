"use strict";

// Slider: how much of the left picture shows.
function compare(figure) {
  const stage = figure.querySelector(".stage");
  const slider = stage.querySelector("input");
  const names = { input: "Blurred", output: "Sharpened", target: "Ground truth" };

  const at = { x: 50, y: 50, zoom: 1 };  // what stays in place when zoomed, in percent

  const move = () => {
    stage.style.setProperty("--split", slider.value + "%");
    // Zoomed in, the cut is where the handle's place lies in the picture.
    stage.style.setProperty("--cut", at.x + (slider.value - at.x) / at.zoom + "%");
    const shown = Math.round(Number(slider.value));
    slider.setAttribute("aria-valuetext",
      shown + "% " + names[stage.dataset.left].toLowerCase() + ", " +
      (100 - shown) + "% " + names[stage.dataset.right].toLowerCase());
    stage.classList.toggle("all-right", slider.value < 8);
    stage.classList.toggle("all-left", slider.value > 92);
  };
  slider.addEventListener("input", move);
  move();

  const zooms = figure.querySelectorAll(".zooms button");
  const look = () => {
    stage.style.setProperty("--zoom", at.zoom);
    stage.style.setProperty("--x", at.x + "%");
    stage.style.setProperty("--y", at.y + "%");
    stage.dataset.zoom = at.zoom;
    move();
  };
  for (const button of zooms) {
    button.addEventListener("click", () => {
      at.zoom = Number(button.dataset.zoom);
      for (const other of zooms) other.setAttribute("aria-pressed", String(other === button));
      look();
    });
  }
  if (zooms.length) {
    stage.addEventListener("pointermove", (event) => {
      if (event.buttons || at.zoom === 1) return;  // a drag moves the slider
      const box = stage.getBoundingClientRect();
      at.x = ((event.clientX - box.left) / box.width) * 100;
      at.y = ((event.clientY - box.top) / box.height) * 100;
      look();
    });
  }

  const buttons = figure.querySelectorAll(".modes:not(.zooms) button");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      stage.dataset.left = button.dataset.left;
      stage.dataset.right = button.dataset.right;
      stage.querySelector(".tag-left").textContent = names[button.dataset.left];
      stage.querySelector(".tag-right").textContent = names[button.dataset.right];
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      move();
    });
  }
}
for (const figure of document.querySelectorAll(".compare")) compare(figure);

// Details: one square of every method, moved and zoomed together, framed in the picture above.
for (const details of document.querySelectorAll(".same-place")) {
  const size = { x: Number(details.dataset.width), y: Number(details.dataset.height) };
  const at = {
    x: Number(details.dataset.left), y: Number(details.dataset.top),
    side: Number(details.dataset.side),
  };
  const frame = details.closest(".pair")?.querySelector(".window");
  const between = (low, value, high) => Math.max(low, Math.min(high, value));

  const look = () => {
    at.side = between(8, at.side, Math.min(size.x, size.y));
    at.x = between(0, at.x, size.x - at.side);
    at.y = between(0, at.y, size.y - at.side);
    details.style.setProperty("--side", at.side);
    details.style.setProperty("--left", at.x);
    details.style.setProperty("--top", at.y);
    const tile = details.querySelector(".tile");
    details.toggleAttribute("data-near", tile.clientWidth / at.side > 3);
    if (!frame) return;
    frame.style.left = (at.x / size.x) * 100 + "%";
    frame.style.top = (at.y / size.y) * 100 + "%";
    frame.style.width = (at.side / size.x) * 100 + "%";
    frame.style.height = (at.side / size.y) * 100 + "%";
  };
  const zoom = (times) => {
    const before = at.side;
    at.side = between(8, at.side * times, Math.min(size.x, size.y));
    at.x += (before - at.side) / 2;
    at.y += (before - at.side) / 2;
  };
  details.addEventListener("keydown", (event) => {
    const step = at.side / 8;
    const keys = {
      ArrowLeft: () => { at.x -= step; }, ArrowRight: () => { at.x += step; },
      ArrowUp: () => { at.y -= step; }, ArrowDown: () => { at.y += step; },
      "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25),
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
    look();
  });
  details.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    const scale = at.side / details.querySelector(".tile").clientWidth;
    at.x -= event.movementX * scale;
    at.y -= event.movementY * scale;
    look();
  });
  look();
}

// Charts: the value under the pointer, or under the cursor keys.
for (const chart of document.querySelectorAll(".chart")) {
  const points = JSON.parse(chart.dataset.points);
  const cursor = chart.querySelector(".cursor");
  const output = chart.parentElement.querySelector("output");
  const width = chart.viewBox.baseVal.width;
  let at = points.length - 1;

  const show = (index) => {
    at = Math.max(0, Math.min(points.length - 1, index));
    const [step, value, x, y] = points[at];
    const line = cursor.querySelector("line");
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    cursor.querySelector("circle").setAttribute("cx", x);
    cursor.querySelector("circle").setAttribute("cy", y);
    cursor.removeAttribute("hidden");
    const digits = chart.dataset.unit === "dB" ? value.toFixed(2) : value.toPrecision(3);
    output.textContent = (digits + " " + chart.dataset.unit).trim() + " at step " + step;
  };
  const hide = () => {
    cursor.setAttribute("hidden", "");
    output.textContent = "";
  };
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    let nearest = 0;
    points.forEach((point, i) => {
      if (Math.abs(point[2] - x) < Math.abs(points[nearest][2] - x)) nearest = i;
    });
    show(nearest);
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -points.length, End: points.length };
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(at + moves[event.key]);
  });
}

// Commands: copy, or where the browser does not allow it, select.
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {
      getSelection().selectAllChildren(code);
    }
  });
}
