{
  const { token, largest } = document.documentElement.dataset;
  const at = (path, query = {}) => path + "?" + new URLSearchParams({ ...query, token });
  const by = (id) => document.getElementById(id);
  const files = { left: null, right: null };
  const sides = Object.keys(files);
  let busy = false;

  const say = (text, wrong = false) => {
    by("said").textContent = text;
    by("said").classList.toggle("wrong", wrong);
  };
  const ready = () => { by("go").disabled = busy || !files.left || !files.right; };

  const ask = async (path, options, query) => {
    const answer = await fetch(at(path, query), options);
    if (!answer.ok) throw new Error((await answer.json()).error);
    return answer;
  };

  const whyNot = (file) => {
    const reads = by("left").accept.split(",");
    if (!reads.some((suffix) => file.name.toLowerCase().endsWith(suffix))) {
      return file.name + " is not read: " + reads.join(", ") + " are";
    }
    const limit = Number((largest / 1e6).toPrecision(3));
    return file.size > largest ? file.name + " is larger than " + limit + " MB" : "";
  };

  const give = (side, file) => {
    if (whyNot(file)) return say(whyNot(file), true);
    files[side] = file;
    const drop = by(side).parentElement;
    drop.classList.add("given");
    drop.querySelector(".file").textContent = file.name;
    ready();
  };

  // Two files at once: names tell which is which, else their order.
  const giveAll = (given, side) => {
    if (busy) return;
    say("");
    const several = [...given].slice(0, 2);
    if (several.length === 1) return give(side, several[0]);
    const isRight = (file) => /(^|[^a-z])(r|right)([^a-z]|$)/i.test(file.name);
    if (isRight(several[0]) && !isRight(several[1])) several.reverse();
    several.forEach((file, number) => give(sides[number], file));
  };

  for (const side of sides) {
    const input = by(side);
    const drop = input.parentElement;
    input.addEventListener("change", () => { if (input.files.length) giveAll(input.files, side); });
    drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files.length) giveAll(event.dataTransfer.files, side);
    });
  }
  for (const kind of ["dragover", "drop"]) {  // beside the places: the browser would leave the page
    addEventListener(kind, (event) => event.preventDefault());
  }

  by("exchange").addEventListener("click", () => {
    const pressed = by("exchange").getAttribute("aria-pressed") === "true";
    by("exchange").setAttribute("aria-pressed", String(!pressed));
  });

  const follow = async (job) => {
    for (;;) {
      const state = await (await ask("/state")).json();
      if (state.job !== job) throw new Error("Another page has begun another picture; sharpen once more");
      by("bar").value = state.share;
      by("noticed").replaceChildren(...state.notices.map((line) => {
        const item = document.createElement("li");
        item.textContent = line;
        return item;
      }));
      if (state.error) throw new Error(state.error);
      if (!state.busy) return state;
      say(state.share ? "Sharpening: " + Math.round(100 * state.share) + " %" : "Reading the views");
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  };

  by("go").addEventListener("click", async () => {
    busy = true;
    ready();
    by("result").hidden = true;
    by("bar").hidden = false;
    by("bar").value = 0;
    try {
      const query = {};
      for (const side of sides) {
        say("Taking the " + side + " view");
        const taken = await ask("/view/" + side, { method: "PUT", body: files[side] }, { name: files[side].name });
        query[side] = (await taken.json()).view;
      }
      if (by("exchange").getAttribute("aria-pressed") === "true") query.exchanged = 1;
      const { job } = await (await ask("/sharpen", { method: "POST" }, query)).json();
      const state = await follow(job);
      by("figure").innerHTML = await (await ask("/figure", {}, { job })).text();
      compare(by("figure").querySelector(".compare"));
      by("save").href = at("/picture", { job });
      by("save").download = state.name;
      by("save").textContent = "Save " + state.name;
      by("described").textContent = state.described;
      by("result").hidden = false;
      say("Done");
      by("save").focus();
    } catch (error) {
      say(error instanceof TypeError ? "k3dn app does not answer; is it still running?" : error.message, true);
    }
    by("bar").hidden = true;
    busy = false;
    ready();
  });
}
