// Click a heading to sort its table; reading needs none of this.
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  const value = (row, at) => row.cells[at].textContent.trim().replace("−", "-");
  table.querySelectorAll("thead th").forEach((heading, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up === 1 ? "ascending" : "descending");
      const compare = (a, b) => {
        const [x, y] = [value(a, at), value(b, at)], [p, q] = [parseFloat(x), parseFloat(y)];
        if (isNaN(p) || isNaN(q)) return isNaN(p) && isNaN(q) ? up * x.localeCompare(y) : isNaN(p) - isNaN(q);
        return up * (p - q);
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
});
