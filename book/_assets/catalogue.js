// Filters for the catalogue table: words, family and place. Without this file it is a plain table.
(() => {
  const build = (box) => {
    if (box.querySelector(".catalogue-tools")) return;
    const rows = [...box.querySelectorAll("tbody tr")];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const tools = document.createElement("div");
    tools.className = "catalogue-tools";
    tools.setAttribute("role", "search");
    tools.setAttribute("aria-label", "Filter the catalogue");
    const field = (words, control) => {
      const label = document.createElement("label");
      label.append(words, control);
      tools.append(label);
      return control;
    };
    const choice = (words, key, shown) => {
      const select = document.createElement("select");
      select.append(new Option("all", ""));
      const seen = new Map(rows.map((row) => [row.dataset[key], shown(row)]));
      for (const [value, text] of seen) select.append(new Option(text, value));
      return field(words, select);
    };
    const search = document.createElement("input");
    search.type = "search";
    field("Words (English or 中文)", search);
    const family = choice("Family", "family", (row) => row.cells[2].textContent);
    const place = choice("Place", "place", (row) => row.cells[1].textContent);
    const count = document.createElement("p");
    count.setAttribute("role", "status");
    tools.append(count);
    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      rows.forEach((row, at) => {
        const kept =
          words.every((word) => texts[at].includes(word)) &&
          (!family.value || row.dataset.family === family.value) &&
          (!place.value || row.dataset.place === place.value);
        row.hidden = !kept;
        left += kept;
      });
      count.textContent = `${left} of ${rows.length} rows`;
    };
    tools.addEventListener("input", apply);
    box.insertBefore(tools, box.querySelector(".catalogue-scroll"));
    apply();
    // A link to a row must find it: clear the filters that hide it.
    const reveal = () => {
      const row = location.hash && document.getElementById(location.hash.slice(1));
      if (row && row.hidden && box.contains(row)) {
        search.value = family.value = place.value = "";
        apply();
        row.scrollIntoView();
      }
    };
    window.addEventListener("hashchange", reveal);
  };
  const start = () => document.querySelectorAll(".catalogue").forEach(build);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
