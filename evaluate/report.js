/* What the page can do beyond CSS: sort tables, read out charts, follow links into closed classes. */
(function () {
  'use strict';
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));

  /* ---- tables ---- */
  function valueOf(row, column) {
    const text = row.cells[column].textContent.trim();
    const number = Number(text.replace(/\u202f/g, ''));
    return text !== '' && !Number.isNaN(number) ? number : text;
  }
  function compare(a, b) {
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
    return a < b ? -1 : a > b ? 1 : 0;
  }
  function sortBy(table, th, column) {
    const body = table.tBodies[0], rows = Array.from(body.rows);
    const numeric = rows.some(row => typeof valueOf(row, column) === 'number');
    const now = th.getAttribute('aria-sort');
    const descending = now ? now === 'ascending' : numeric;
    all('th[aria-sort]', table).forEach(other => other.removeAttribute('aria-sort'));
    th.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    rows.map((row, i) => ({row, i, value: valueOf(row, column)})).sort((a, b) => {
      if (a.value === '\u2013' || b.value === '\u2013') /* undefined: always last */
        return (a.value === '\u2013') - (b.value === '\u2013') || a.i - b.i;
      return (descending ? -1 : 1) * compare(a.value, b.value) || a.i - b.i;
    }).forEach(entry => body.append(entry.row));
  }
  all('table.sortable').forEach(table => {
    const head = table.tHead.rows[table.tHead.rows.length - 1];
    Array.from(head.cells).forEach((th, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...th.childNodes);
      button.addEventListener('click', () => sortBy(table, th, column));
      th.append(button);
    });
  });

  /* ---- classes lit up while the pointer is on their row or chip ---- */
  function light(c, on) {
    all('.c' + c).forEach(mark => mark.classList.toggle('hot', on));
  }
  all('[data-c]').forEach(place => {
    place.addEventListener('pointerenter', () => light(place.dataset.c, true));
    place.addEventListener('pointerleave', () => light(place.dataset.c, false));
  });

  /* ---- read-outs ---- */
  const kept = new WeakMap();
  function pointsOf(path) { /* of "M x y L x y" and "M x y V y H x" */
    let points = kept.get(path);
    if (points) return points;
    points = [];
    let x = 0, y = 0;
    for (const part of path.getAttribute('d').matchAll(/([MLHV])([-\d. ]+)/g)) {
      const n = part[2].trim().split(/ +/).map(Number);
      if (part[1] === 'H') x = n[0];
      else if (part[1] === 'V') y = n[0];
      else [x, y] = n;
      points.push({x, y, gap: part[1] === 'M'});
    }
    kept.set(path, points);
    return points;
  }
  function heightAt(points, x) {
    for (let i = 1; i < points.length; i++) {
      const a = points[i - 1], b = points[i];
      if (b.gap || x < a.x || x > b.x || a.x === b.x) continue;
      return a.y + (b.y - a.y) * (x - a.x) / (b.x - a.x);
    }
    return NaN;
  }
  function format(value, log) {
    return log ? String(Math.round(value)) : value.toFixed(Math.abs(value) < 10 ? 3 : 1);
  }
  function readOut(svg, tip, event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    all('.cross', svg).forEach(line => line.remove());
    tip.hidden = true;
    for (const panel of all('.panel[data-p]', svg)) {
      const [left, top, width, height, x0, x1, y0, y1, log] = panel.dataset.p.split(' ').map(Number);
      if (at.x < left || at.x > left + width || at.y < top || at.y > top + height) continue;
      const lines = all('.ln[data-n]', panel).map(path => ({path, style: getComputedStyle(path), y: heightAt(pointsOf(path), at.x)}))
        .filter(line => !Number.isNaN(line.y) && Number(line.style.strokeOpacity) > .6).sort((a, b) => a.y - b.y).slice(0, 12);
      if (lines.length === 0) return;
      const cross = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      cross.setAttribute('class', 'cross');
      cross.setAttribute('d', `M${at.x} ${top}v${height}`);
      panel.append(cross);
      tip.replaceChildren();
      const head = document.createElement('div');
      const label = panel.querySelector('.lx');
      head.textContent = (label ? label.textContent : 'x') + ' ' + format(x0 + (x1 - x0) * (at.x - left) / width, false);
      tip.append(head);
      for (const line of lines) {
        const row = document.createElement('div'), mark = document.createElement('i'), number = document.createElement('b');
        const part = (top + height - line.y) / height;
        const value = log ? (part < .001 ? 0 : Math.pow(10, Math.log10(y0) + part * Math.log10(y1 / y0))) : y0 + part * (y1 - y0);
        mark.style.background = line.style.stroke;
        number.textContent = format(value, log);
        row.append(number, mark, line.path.dataset.n);
        tip.append(row);
      }
      tip.hidden = false;
      const box = svg.parentNode.getBoundingClientRect(), size = tip.getBoundingClientRect();
      let x = event.clientX - box.left + 14;
      if (event.clientX + 14 + size.width > document.documentElement.clientWidth - 4) x = event.clientX - box.left - size.width - 14;
      tip.style.left = Math.max(x, 4 - box.left) + 'px';
      tip.style.top = Math.max(0, event.clientY - box.top - size.height - 10) + 'px';
      return;
    }
  }
  all('.plot').forEach(plot => {
    const svg = plot.querySelector('svg'), tip = document.createElement('div');
    if (!svg || !svg.querySelector('.panel[data-p]')) return;
    tip.className = 'tip';
    tip.hidden = true;
    plot.append(tip);
    plot.addEventListener('pointermove', event => readOut(svg, tip, event));
    plot.addEventListener('pointerleave', () => {
      tip.hidden = true;
      all('.cross', svg).forEach(line => line.remove());
    });
  });

  /* ---- classes: open what a link leads to, all at once, and all for printing ---- */
  function follow() {
    const target = /^#c\d+-\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!target) return;
    target.open = true;
    target.scrollIntoView();
  }
  addEventListener('hashchange', follow);
  follow();
  all('.version').forEach(version => {
    const first = version.querySelector('details.class'), tools = document.createElement('div'), button = document.createElement('button');
    if (!first) return;
    tools.className = 'tools';
    button.type = 'button';
    button.textContent = 'Open all classes';
    button.addEventListener('click', () => {
      const classes = all('details.class', version), open = classes.some(one => !one.open);
      classes.forEach(one => { one.open = open; });
      button.textContent = open ? 'Close all classes' : 'Open all classes';
    });
    tools.append(button);
    first.before(tools);
  });
  let closed = [];
  addEventListener('beforeprint', () => {
    closed = all('details:not([open])');
    closed.forEach(one => { one.open = true; });
  });
  addEventListener('afterprint', () => closed.forEach(one => { one.open = false; }));
})();
