/* The page: state, controls, drawing. All values come from the WebAssembly (simulate/wasm/page.c); nothing is computed here but
 * places on the screen. */
(function () {
  'use strict';
  const byId = id => document.getElementById(id), make = (name, props) => Object.assign(document.createElement(name), props);
  const data = JSON.parse(byId('data').textContent), N = data.grid, LOW = 0.01, HIGH = 0.99, SMALL = 40, FIRST_LOSS = 2, ON_PAPER = 440;
  const SUB = ['\u2081', '\u2082'];
  const bytesOf = text => Uint8Array.from(atob(text.trim()), c => c.charCodeAt(0));
  const maps = data.maps.map(map => {
    const rgb = bytesOf(map.colors), words = new Uint32Array(256), light = new Uint8Array(256);
    for (let i = 0; i < 256; i++) {
      const [r, g, b] = rgb.subarray(3 * i, 3 * i + 3);
      words[i] = (255 << 24 | b << 16 | g << 8 | r) >>> 0;
      light[i] = .3 * r + .59 * g + .11 * b > 140;
    }
    const css = i => `rgb(${rgb[3 * i]},${rgb[3 * i + 1]},${rgb[3 * i + 2]})`;
    return {name: map.name, words, light, css, gradient: Array.from({length: 17}, (_, i) => css(Math.min(255, 16 * i))).join(',')};
  });
  const index = new Map(data.surfaces.map((surface, i) => [surface.name, i]));
  const ANEW = {y: 0, p: .1, counts: 100}; /* of a further class */
  let wasm, state, drawn = {}, taken = {}, queued = false, linkTimer = 0;

  /* ---- state ---- */
  function fresh() {
    const s = data.state, counts = s.counts.concat(s.y.slice(s.counts.length).map(() => ANEW.counts));
    return {surface: s.surface, map: s.map, lambda: s.lambda, alpha: s.alpha, gamma: s.gamma, y: s.y.slice(), p: s.p.map((p, i) => i < 2 ? .5 : p),
      counts, negatives: s.counts.length ? s.negatives : 1000, beta: s.beta, weighted: s.weighted, lines: true, arrows: s.arrows, path: false, at: [.3, .6]};
  }
  const round = (value, places) => Number(value.toFixed(places));
  function write(s) { /* what differs from a page that was just opened */
    const first = fresh(), out = [], put = (name, value, was) => { if (String(value) !== String(was)) out.push(name + '=' + value); };
    put('s', s.surface, first.surface);
    put('y', s.y.join(''), first.y.join(''));
    put('p', s.p.slice(2).join(), first.p.slice(2).join());
    for (const name of ['lambda', 'alpha', 'gamma', 'negatives', 'beta']) put(name, s[name], first[name]);
    put('n', s.counts.join(), first.counts.join());
    put('map', maps[s.map].name, maps[first.map].name);
    put('at', s.at.map(p => round(p, 4)).join(), first.at.join());
    for (const name of ['weighted', 'lines', 'arrows', 'path']) put(name, s[name] ? 1 : 0, first[name] ? 1 : 0);
    return out.join('&');
  }
  function within(text, low, high) {
    const value = text.trim() === '' ? NaN : Number(text);
    return value >= low && value <= high ? value : null;
  }
  const LIMITS = {lambda: [0, 1e6], alpha: [0, 1e6], gamma: [0, 100], negatives: [0, 1e15], beta: [0, 1]};
  function listOf(text, low, high, most) {
    const all = text === '' ? [] : text.split(',').map(part => within(part, low, high));
    return all.includes(null) || all.length > most ? null : all;
  }
  function read(hash) { /* what cannot be understood is passed over */
    const s = fresh(), said = new URLSearchParams(hash.replace(/^#/, '')), most = data.most_classes;
    if (index.has(said.get('s'))) s.surface = said.get('s');
    const y = said.get('y'), p = said.has('p') ? listOf(said.get('p'), 1e-6, 1 - 1e-6, most - 2) : s.p.slice(2);
    if (p && (y === null || /^[01]+$/.test(y)) && (y === null ? s.y.length : y.length) === p.length + 2) {
      s.p = [.5, .5].concat(p);
      if (y !== null) s.y = Array.from(y, Number);
    }
    for (const name in LIMITS) {
      const value = said.has(name) ? within(said.get(name), ...LIMITS[name]) : null;
      if (value !== null) s[name] = name === 'negatives' ? Math.round(value) : value;
    }
    const counts = said.has('n') ? listOf(said.get('n'), 0, 1e15, most) : null, at = said.has('at') ? listOf(said.get('at'), LOW, HIGH, 2) : null;
    if (counts) s.counts = counts.map(Math.round);
    if (at && at.length === 2) s.at = at;
    maps.forEach((map, i) => { if (map.name === said.get('map')) s.map = i; });
    for (const name of ['weighted', 'lines', 'arrows', 'path'])
      if (/^[01]$/.test(said.get(name) || '')) s[name] = said.get(name) === '1';
    return s;
  }
  function remember() { /* browsers do not like an address that changes with every frame */
    clearTimeout(linkTimer);
    linkTimer = setTimeout(() => {
      const hash = write(state);
      if (hash !== location.hash.slice(1)) history.replaceState(null, '', '#' + hash);
    }, 250);
  }

  /* ---- the module ---- */
  function hand() { /* the scene; W of the image */
    const n = state.y.length, memory = wasm.memory.buffer, counts = new Float64Array(memory, wasm.counts(), n + 1);
    new Uint8Array(memory, wasm.labels(), n).set(state.y);
    new Float64Array(memory, wasm.probabilities(), n).set(state.p);
    while (state.counts.length < n) state.counts.push(ANEW.counts);
    state.counts.length = n;
    counts.set(state.counts);
    counts[n] = state.negatives;
    const weights = wasm.weigh(n, state.beta);
    drawn.weights = weights ? Array.from(new Float64Array(memory, weights, n + 1)) : null;
    drawn.W = weights ? wasm.image_weight(n) : NaN;
    wasm.set(n, state.lambda, state.alpha, state.gamma, state.weighted && weights ? drawn.W : 1);
  }
  function at(which, p1, p2) {
    const out = wasm.at(which, p1, p2);
    return Array.from(new Float64Array(wasm.memory.buffer, out, 4));
  }
  function painted(n, low, high) {
    return new ImageData(new Uint8ClampedArray(wasm.memory.buffer, wasm.paint(n, low, high), 4 * n * n), n, n);
  }

  /* ---- numbers ---- */
  const minus = text => /^-0(\.0*)?$/.test(text) ? text.slice(1) : text.replace('-', '\u2212');
  function short(value) {
    const size = Math.abs(value);
    if (!(size < Infinity)) return '\u2013';
    if (size !== 0 && (size < 1e-3 || size >= 1e5)) return minus(value.toExponential(2));
    return minus(value.toFixed(size < 10 ? 4 : size < 1000 ? 3 : 1));
  }
  function levelsOf(low, high, most) { /* 1, 2 or 5 times a power of ten apart */
    const span = high - low;
    if (!(span > 1e-300) || span < 1e-9 * Math.abs(high)) return {values: [], text: String};
    let step = Math.pow(10, Math.floor(Math.log10(span / most)));
    step *= [1, 2, 5, 10].find(k => span / (k * step) <= most);
    const places = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)), values = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) values.push(k * step);
    const digits = Math.floor(Math.log10(high)) - Math.floor(Math.log10(step)); /* behind the first, where numbers are too small to be written out */
    return {values, text: value => places > 6 && high < 1e-3 ? minus(value.toExponential(Math.max(1, digits))) : value.toFixed(places)};
  }

  /* ---- drawing ---- */
  const plot = byId('plot'), pen = plot.getContext('2d'), sheet = make('canvas', {width: N, height: N}), sheetPen = sheet.getContext('2d');
  const px = (p, size) => (p - LOW) / (HIGH - LOW) * size;
  function fit() {
    /* on paper the style sheet says how wide it is; four pixels each, for Chromium rounds other factors when it prints a canvas as curves */
    const width = drawn.fine ? ON_PAPER : byId('figure').getBoundingClientRect().width, scale = drawn.fine ? 4 : Math.max(1, window.devicePixelRatio || 1);
    const size = Math.max(1, Math.round(width * scale));
    if (plot.width !== size) plot.width = plot.height = size;
    drawn.size = width;
    drawn.scale = size / width;
  }
  const shade = value => drawn.high > drawn.low ? Math.max(0, Math.min(255, Math.floor((value - drawn.low) / (drawn.high - drawn.low) * 256))) : 128;
  const inkOn = (value, alpha) => (maps[state.map].light[shade(value)] ? 'rgba(10,16,24,' : 'rgba(255,255,255,') + alpha + ')';
  function drawLine(points, n) {
    const unit = drawn.size / (N - 1), pieces = [];
    let first = true, begin = 0;
    pen.beginPath();
    for (let i = 0; i < n; i++) {
      const x = points[2 * i];
      if (x !== x) {
        pieces.push([begin, i]);
        begin = i + 1;
        first = true;
      } else if (first) {
        pen.moveTo(x * unit, drawn.size - points[2 * i + 1] * unit);
        first = false;
      } else pen.lineTo(x * unit, drawn.size - points[2 * i + 1] * unit);
    }
    pen.stroke();
    return pieces;
  }
  function placeLabel(points, [begin, end], text, value) {
    const unit = drawn.size / (N - 1);
    if (end - begin < 24) return;
    for (const part of [.5, .36, .64, .22, .78]) {
      const i = begin + Math.floor(part * (end - begin)), x = points[2 * i] * unit, y = drawn.size - points[2 * i + 1] * unit;
      if (x < 22 || y < 12 || x > drawn.size - 22 || y > drawn.size - 12) continue;
      if (drawn.labels.some(other => Math.hypot(other.x - x, 1.7 * (other.y - y)) < 46)) continue;
      drawn.labels.push({x, y, text, value});
      return;
    }
  }
  function drawLines(levels) {
    pen.lineWidth = 1;
    pen.lineJoin = 'round';
    for (const value of levels.values) {
      if (!(value > drawn.low && value < drawn.high)) continue;
      const n = wasm.contour(N, value), points = new Float64Array(wasm.memory.buffer, wasm.contour_points(), 2 * n);
      pen.strokeStyle = inkOn(value, .5);
      for (const piece of drawLine(points, n)) placeLabel(points, piece, levels.text(value), value);
    }
  }
  function drawLabels() {
    pen.font = '11.5px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif';
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    pen.lineWidth = 4;
    for (const label of drawn.labels) {
      pen.strokeStyle = maps[state.map].css(shade(label.value));
      pen.strokeText(label.text, label.x, label.y);
      pen.fillStyle = inkOn(label.value, .95);
      pen.fillText(label.text, label.x, label.y);
    }
  }
  function arrow(path, x, y, dx, dy) {
    const length = Math.hypot(dx, dy), head = Math.min(5, .45 * length), ux = dx / length * head, uy = dy / length * head;
    path.moveTo(x - dx / 2, y - dy / 2);
    path.lineTo(x += dx / 2, y += dy / 2);
    path.moveTo(x - ux - .6 * uy, y - uy + .6 * ux);
    path.lineTo(x, y);
    path.lineTo(x - ux + .6 * uy, y - uy - .6 * ux);
  }
  function drawArrows() {
    const n = drawn.size < 400 ? 11 : 15, all = [], paths = new Map(); /* of each ink, drawn at once */
    let longest = 0;
    for (let k = 0; k < n * n; k++) {
      const p1 = LOW + (HIGH - LOW) * (k % n + .5) / n, p2 = LOW + (HIGH - LOW) * (Math.floor(k / n) + .5) / n, [value, g1, g2] = at(drawn.which, p1, p2);
      longest = Math.max(longest, Math.hypot(g1, g2));
      all.push({p1, p2, value, g1, g2});
    }
    pen.lineWidth = 1.3;
    pen.lineCap = pen.lineJoin = 'round';
    for (const one of all) {
      const scale = longest > 0 ? drawn.size / n / longest : 0, dx = -one.g1 * scale, dy = one.g2 * scale;
      if (Math.hypot(dx, dy) < 1.2) continue;
      const ink = inkOn(one.value, .8);
      if (!paths.has(ink)) paths.set(ink, new Path2D());
      arrow(paths.get(ink), px(one.p1, drawn.size), drawn.size - px(one.p2, drawn.size), dx, dy);
    }
    for (const [ink, path] of paths) {
      pen.strokeStyle = ink;
      pen.stroke(path);
    }
  }
  function drawPath() { /* steepest descent by the two logits, in steps of equal length, to the border or to where it rests */
    const logit = p => Math.log(p / (1 - p)), sigmoid = z => 1 / (1 + Math.exp(-z));
    const path = new Path2D();
    let [p1, p2] = state.at;
    path.moveTo(px(p1, drawn.size), drawn.size - px(p2, drawn.size));
    for (let k = 0, step = .06, before = Infinity; k < 400 && step > .002; k++) {
      const [, g1, g2] = at(drawn.which, p1, p2), length = Math.hypot(g1, g2);
      if (!(length > 1e-7)) break;
      p1 = sigmoid(logit(p1) - step * g1 / length);
      p2 = sigmoid(logit(p2) - step * g2 / length);
      if (p1 < LOW || p2 < LOW || p1 > HIGH || p2 > HIGH) break;
      if (length > before) step *= .8;
      before = length;
      path.lineTo(px(p1, drawn.size), drawn.size - px(p2, drawn.size));
    }
    for (const style of [['rgba(10,16,24,.75)', 4], ['#fff', 2]]) {
      [pen.strokeStyle, pen.lineWidth] = style;
      pen.stroke(path);
    }
  }
  function drawLegend(levels) {
    const ticks = byId('ticks-bar'), all = levels.values, out = [], place = value => (value - drawn.low) / (drawn.high - drawn.low) * drawn.size;
    const step = all.length > 1 ? all[1] - all[0] : 1, room = 8 + 7 * Math.max(0, ...all.map(value => levels.text(value).length));
    const stride = [1, 2, 5, 10, 20].find(k => place(drawn.low + k * step) >= room) || 50;
    for (const value of all)
      if (Math.round(value / step) % stride === 0) out.push(`<span style="left:${(place(value) / drawn.size * 100).toFixed(2)}%">${levels.text(value)}</span>`);
    const html = out.join('') || `<span style="left:50%">${short(drawn.low)}</span>`;
    if (ticks.innerHTML !== html) ticks.innerHTML = html;
  }
  function drawMain() {
    const which = drawn.which = index.get(state.surface);
    wasm.surface(which, N);
    [drawn.low, drawn.high] = [wasm.least(), wasm.most()];
    sheetPen.putImageData(painted(N, drawn.low, drawn.high), 0, 0);
    const half = drawn.size / (N - 1) / 2, levels = levelsOf(drawn.low, drawn.high, drawn.size < 400 ? 14 : 24);
    pen.setTransform(drawn.scale, 0, 0, drawn.scale, 0, 0);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(sheet, -half, -half, drawn.size + 2 * half, drawn.size + 2 * half);
    drawn.labels = [];
    if (state.lines) drawLines(levels);
    if (state.arrows && which >= FIRST_LOSS) drawArrows();
    if (state.path && which >= FIRST_LOSS) drawPath();
    drawLabels();
    drawLegend(levels);
  }
  function drawSmall() {
    for (const small of drawn.small) {
      wasm.surface(small.which, SMALL);
      small.pen.putImageData(painted(SMALL, wasm.least(), wasm.most()), 0, 0);
    }
  }

  /* ---- words ---- */
  const say = (id, text) => { const place = byId(id); if (place.textContent !== text) place.textContent = text; };
  const named = text => state.gamma > 0 ? text.replace(/^BCE/, 'Focal') : text;
  function drawThrough(value) { /* the contour under the marker, in tenths of a place of the grid */
    const inside = state.lines && value > drawn.low && value < drawn.high, n = inside ? wasm.contour(N, value) : 0;
    const points = new Float64Array(wasm.memory.buffer, wasm.contour_points(), 2 * n);
    let d = '', next = 'M';
    for (let i = 0; i < n; i++) {
      const x = points[2 * i];
      if (x === x) d += next + Math.round(10 * x) + ' ' + Math.round(10 * (N - 1 - points[2 * i + 1]));
      next = x === x ? 'L' : 'M';
    }
    for (const path of byId('through').children) path.setAttribute('d', d);
  }
  function readOut() {
    const [p1, p2] = state.at, [value, g1, g2, presence] = at(drawn.which, p1, p2), logit = p => Math.log(p / (1 - p));
    say('value', short(value));
    say('presence', presence.toFixed(4));
    say('places', p1.toFixed(3) + ', ' + p2.toFixed(3));
    say('logits', minus(logit(p1).toFixed(2)) + ', ' + minus(logit(p2).toFixed(2)));
    say('push', drawn.which < FIRST_LOSS ? '\u2013' : minus((-g1).toFixed(3)) + ', ' + minus((-g2).toFixed(3)));
    drawThrough(value);
    const x = px(p1, 100) + '%', y = 100 - px(p2, 100) + '%';
    byId('cross-up').style.top = y;
    byId('cross-across').style.left = x;
    byId('marker').style.left = x;
    byId('marker').style.top = y;
    const tag = byId('tag');
    say('tag', short(value));
    [tag.style.left, tag.style.top] = [x, y];
    tag.style.transform = `translate(${p1 > .8 ? 'calc(-100% - 12px)' : '12px'},${p2 > .9 ? '10px' : 'calc(-100% - 10px)'})`;
    byId('bar-mark').style.left = (drawn.high > drawn.low ? (value - drawn.low) / (drawn.high - drawn.low) * 100 : 50) + '%';
  }
  function describe() {
    const surface = data.surfaces[drawn.which], n = state.y.length, title = named(surface.title);
    say('title', title);
    say('formula', surface.formula);
    say('value-name', title);
    SUB.forEach((sub, i) => say(i ? 'label-up' : 'label-across', `p${sub}, probability of class ${i + 1}` + (state.y[i] ? ' (present)' : ' (absent)')));
    const labels = state.y.slice(0, 12).join(', ') + (n > 12 ? ', \u2026' : '');
    const fixed = n > 2 ? `, p = (p\u2081, p\u2082, ${state.p.slice(2, 12).map(p => round(p, 4)).join(', ')}${n > 12 ? ', \u2026' : ''})` : '';
    say('state', `y = (${labels})${fixed}, \u03bb = ${state.lambda}, \u03b1 = ${state.alpha}, \u03b3 = ${state.gamma}` +
      (n > 2 ? `, ${n} classes` : '') + (state.weighted && drawn.weights ? `, W = ${short(drawn.W)}` : ''));
    for (const head of document.querySelectorAll('#matrix [data-head]')) head.textContent = state.gamma > 0 ? head.dataset.head.replace('BCE', 'focal') : head.dataset.head;
    say('others-fact', n > 2 ? `${n - 2} fixed` : 'none');
    say('weights-fact', state.weighted ? `W = ${short(drawn.W)}` : 'off');
    document.querySelectorAll('#count-rows td:last-child').forEach((cell, i) => { cell.textContent = drawn.weights ? short(drawn.weights[i]) : '\u2013'; });
    say('weight-note', drawn.weights ? `W of this image: ${short(drawn.W)}, ` + (state.y.some(Boolean) ? 'the sum over its labels.' : 'that of an image without labels.') :
      'Without any image there is nothing to weigh by: W is 1.');
  }

  /* ---- the whole ---- */
  function redraw() {
    queued = false;
    hand();
    fit();
    drawSmall();
    drawMain();
    describe();
    readOut();
  }
  function change(drawAgain = true) {
    remember();
    drawn.all = drawn.all || drawAgain;
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => {
      const all = drawn.all || state.path;
      drawn.all = false;
      if (all) redraw();
      else {
        queued = false;
        readOut();
      }
    });
  }

  /* ---- controls ---- */
  function numberOf(input, name) {
    const value = within(input.value, ...LIMITS[name]);
    return input.value.trim() === '' ? null : value;
  }
  function leave(input, value) { /* what is no value does not stay in the field */
    input.addEventListener('change', () => { input.value = value(); });
  }
  function setClasses(n) { /* those that are taken away come back as they were: "12" is typed over 5 as 1, then 12 */
    for (const name in ANEW) {
      const list = state[name], gone = taken[name] = taken[name] || [];
      while (list.length > n) gone[list.length - 1] = list.pop();
      while (list.length < n) list.push(list.length in gone ? gone[list.length] : ANEW[name]);
    }
  }
  function bindNumbers() {
    for (const name of ['lambda', 'alpha', 'gamma']) {
      const slider = byId(name), number = byId(name + '-number');
      slider.addEventListener('input', () => { state[name] = Number(slider.value); number.value = state[name]; change(); });
      number.addEventListener('input', () => {
        const value = numberOf(number, name);
        if (value === null) return;
        state[name] = value;
        slider.value = value;
        change();
      });
      leave(number, () => state[name]);
    }
    byId('beta').addEventListener('input', () => { const value = numberOf(byId('beta'), 'beta'); if (value !== null) { state.beta = value; change(); } });
    leave(byId('beta'), () => state.beta);
    byId('n-classes').addEventListener('input', () => {
      const n = Number(byId('n-classes').value);
      if (!Number.isInteger(n) || n < 2 || n > data.most_classes) return;
      setClasses(n);
      hand();
      buildRows();
      change();
    });
    leave(byId('n-classes'), () => state.y.length);
  }
  function buildRows() {
    const others = byId('other-rows'), rows = byId('count-rows');
    others.replaceChildren();
    rows.replaceChildren();
    for (let j = 2; j < state.y.length; j++) {
      const row = make('div', {className: 'other'}), range = make('input', {type: 'range', min: .01, max: .99, step: .01, value: state.p[j]});
      const out = make('output', {textContent: state.p[j].toFixed(2)}), label = make('label', {}), box = make('input', {type: 'checkbox', checked: state.y[j] === 1});
      range.setAttribute('aria-label', `probability of class ${j + 1}`);
      range.addEventListener('input', () => { state.p[j] = Number(range.value); out.textContent = state.p[j].toFixed(2); change(); });
      box.addEventListener('change', () => { state.y[j] = box.checked ? 1 : 0; change(); });
      label.append(box, 'y');
      box.setAttribute('aria-label', `class ${j + 1} is present`);
      row.append(make('span', {className: 'name', textContent: j + 1}), make('span', {textContent: 'p'}), range, out, label);
      others.append(row);
    }
    for (let j = 0; j <= state.y.length; j++) {
      const last = j === state.y.length, row = make('tr', {}), input = make('input', {type: 'number', min: 0, step: 1, value: last ? state.negatives : state.counts[j]});
      const name = last ? 'none' : `class ${j + 1}`, cell = make('td', {});
      input.setAttribute('aria-label', `images that show ${name}`);
      input.addEventListener('input', () => {
        const value = numberOf(input, 'negatives');
        if (value === null || !Number.isInteger(value)) return;
        if (last) state.negatives = value;
        else state.counts[j] = value;
        change();
      });
      leave(input, () => last ? state.negatives : state.counts[j]);
      cell.append(input);
      row.append(make('th', {scope: 'row', textContent: name}), cell, make('td', {}));
      rows.append(row);
    }
  }
  function buildMatrix() {
    const matrix = byId('matrix'), head = ['BCE', 'any-class', 'product', 'BCE & any-class', 'BCE & product'];
    const word = (text, className, headOf) => { const b = make('b', {textContent: text, className: className || ''}); if (headOf) b.dataset.head = text; matrix.append(b); };
    const choice = which => {
      const label = make('label', {title: data.surfaces[which].title}), input = make('input', {type: 'radio', name: 'surface', value: data.surfaces[which].name});
      const canvas = make('canvas', {width: SMALL, height: SMALL});
      input.setAttribute('aria-label', data.surfaces[which].title);
      input.addEventListener('change', () => { state.surface = input.value; change(); });
      label.append(input, canvas);
      matrix.append(label);
      drawn.small.push({which, pen: canvas.getContext('2d')});
    };
    drawn.small = [];
    word('');
    head.forEach(text => word(text, '', true));
    word('loss', 'row');
    for (let k = 7; k < 12; k++) choice(k);
    word('likelihood', 'row');
    for (let k = 2; k < 7; k++) choice(k);
    word('p alone', 'row');
    choice(0);
    choice(1);
    word('product and geometric mean of the probabilities', 'note');
  }
  function buildMaps() {
    maps.forEach((map, i) => {
      const label = make('label', {}), input = make('input', {type: 'radio', name: 'map', value: i}), swatch = make('i', {});
      swatch.style.background = `linear-gradient(90deg,${map.gradient})`;
      input.addEventListener('change', () => { state.map = i; showMap(); change(); });
      label.append(input, swatch, map.name);
      byId('maps').append(label);
    });
  }
  function showMap() {
    new Uint32Array(wasm.memory.buffer, wasm.colors(), 256).set(maps[state.map].words);
    byId('bar').getContext('2d').putImageData(new ImageData(new Uint8ClampedArray(maps[state.map].words.buffer), 256, 1), 0, 0);
  }
  function show() { /* controls follow the state */
    taken = {};
    for (const name of ['lambda', 'alpha', 'gamma']) byId(name).value = byId(name + '-number').value = state[name];
    for (const name of ['lines', 'arrows', 'path', 'weighted']) byId(name).checked = state[name];
    byId('beta').value = state.beta;
    byId('n-classes').value = state.y.length;
    for (const input of document.querySelectorAll('#controls input[type=radio]')) {
      const wanted = {surface: state.surface, map: state.map, y1: state.y[0], y2: state.y[1]}[input.name];
      input.checked = input.value === String(wanted);
    }
    byId('others').open = byId('others').open || state.y.length > 2;
    byId('weights').open = byId('weights').open || state.weighted;
    hand();
    showMap();
    buildRows();
  }
  function bind() {
    for (const name of ['y1', 'y2'])
      for (const input of document.querySelectorAll(`input[name=${name}]`))
        input.addEventListener('change', () => { state.y[name === 'y1' ? 0 : 1] = Number(input.value); change(); });
    for (const name of ['lines', 'arrows', 'path', 'weighted'])
      byId(name).addEventListener('change', () => { state[name] = byId(name).checked; change(); });
    bindNumbers();
    byId('controls').addEventListener('submit', event => event.preventDefault());
    byId('reset').addEventListener('click', () => { state = fresh(); show(); change(); say('said', ''); });
    byId('copy').addEventListener('click', async () => {
      const link = location.href.replace(/#.*/, '') + '#' + write(state);
      try {
        await navigator.clipboard.writeText(link);
        say('said', 'copied');
      } catch (refused) {
        say('said', link);
      }
    });
    addEventListener('hashchange', () => { state = read(location.hash); show(); change(); });
    addEventListener('resize', () => change());
    const print = fine => () => { drawn.fine = fine; redraw(); };
    addEventListener('beforeprint', print(true));
    addEventListener('afterprint', print(false));
  }
  function bindFigure() {
    const figure = byId('figure'), clamp = p => Math.max(LOW, Math.min(HIGH, p));
    const move = event => {
      const box = figure.getBoundingClientRect();
      state.at = [clamp(LOW + (HIGH - LOW) * (event.clientX - box.left) / box.width), clamp(HIGH - (HIGH - LOW) * (event.clientY - box.top) / box.height)];
      change(false);
    };
    figure.addEventListener('pointerdown', event => { figure.setPointerCapture(event.pointerId); move(event); });
    figure.addEventListener('pointermove', event => { if (event.pointerType === 'mouse' || event.buttons) move(event); });
    figure.addEventListener('keydown', event => {
      const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
      if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = (HIGH - LOW) / (N - 1) * (event.shiftKey ? 10 : 1);
      state.at = state.at.map((p, i) => clamp(p + step * way[i]));
      event.preventDefault();
      change(false);
    });
    for (const p of [.01, .2, .4, .6, .8, .99])
      for (const [id, side, part] of [['ticks-across', 'left', px(p, 100)], ['ticks-up', 'top', 100 - px(p, 100)]]) {
        const tick = make('span', {textContent: p});
        tick.style[side] = part + '%';
        byId(id).append(tick);
      }
  }

  async function start() {
    const module = await WebAssembly.instantiate(bytesOf(byId('wasm').textContent), {});
    wasm = module.instance.exports;
    state = read(location.hash);
    buildMatrix();
    buildMaps();
    bind();
    bindFigure();
    show();
    redraw();
    if (window.ResizeObserver) new ResizeObserver(() => change()).observe(byId('figure'));
    window.simulate = { /* for the console and for tests */
      redraw, surfaces: data.surfaces.map(surface => surface.name),
      set(part) { Object.assign(state, part); show(); redraw(); remember(); },
      get state() { return JSON.parse(JSON.stringify(state)); },
      values(name) {
        hand();
        const values = new Float64Array(wasm.memory.buffer, wasm.surface(index.get(name), N), N * N).slice();
        wasm.surface(drawn.which, N); /* for the contour under the marker */
        return values;
      },
    };
    document.documentElement.dataset.ready = 'yes';
  }
  start().catch(reason => {
    byId('broken').hidden = false;
    say('broken', 'This browser cannot run the page: ' + reason + ' It needs WebAssembly (any browser since 2022).');
  });
})();
