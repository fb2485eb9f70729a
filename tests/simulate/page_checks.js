/* Questions to the page of anyclass-simulate, evaluated by tests/simulate/page.c beside tests/evaluate/browser_checks.js. */
var page = {
  ready() { return document.documentElement.dataset.ready || ''; },
  state() { return JSON.stringify(simulate.state); },
  text(id) { return document.getElementById(id).textContent; },
  set(part) {
    simulate.set(part);
    return '';
  },
  values(name) { /* float64, little-endian, in base64 */
    const bytes = new Uint8Array(simulate.values(name).buffer);
    let text = '';
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  },
  colors() { /* how many a picture has, of 16 x 16 places */
    const plot = document.getElementById('plot'), copy = document.createElement('canvas');
    copy.width = copy.height = 16;
    const pen = copy.getContext('2d', {willReadFrequently: true});
    pen.drawImage(plot, 0, 0, 16, 16);
    const data = new Uint32Array(pen.getImageData(0, 0, 16, 16).data.buffer);
    return String(new Set(data).size);
  },
  picture() { return document.getElementById('plot').toDataURL().length; },
  changes(part) { /* whether the picture is another one with it */
    const plot = document.getElementById('plot'), before = plot.toDataURL(), was = simulate.state;
    simulate.set(part);
    const after = plot.toDataURL();
    simulate.set(was);
    return before === plot.toDataURL() ? (before === after ? 'the same' : 'another') : 'not restored';
  },
  small() { /* how many small pictures there are, and how many of them have next to no colours */
    const copy = document.createElement('canvas'), pen = copy.getContext('2d', {willReadFrequently: true}), all = [...document.querySelectorAll('#matrix canvas')];
    copy.width = copy.height = 16;
    const dull = all.filter(canvas => {
      pen.clearRect(0, 0, 16, 16);
      pen.drawImage(canvas, 0, 0, 16, 16);
      return new Set(new Uint32Array(pen.getImageData(0, 0, 16, 16).data.buffer)).size < 8;
    });
    return all.length + ' ' + dull.length;
  },
  shownValue() { /* the value read out is the surface's at the marker, between its neighbours on the grid */
    const s = simulate.state, n = 200, values = simulate.values(s.surface), place = s.at.map(p => (p - .01) / .98 * (n - 1));
    const i = Math.floor(place[0]), j = Math.floor(place[1]), near = [0, 1, n, n + 1].map(k => values[j * n + i + k]);
    const shown = Number(document.getElementById('value').textContent.replace('\u2212', '-'));
    return shown >= Math.min(...near) - 1e-3 && shown <= Math.max(...near) + 1e-3 ? '' : shown + ' is not within ' + near;
  },
  async links(n) { /* links of pieces that may mean something, in any order: each leaves a state that can be drawn; browsers allow 200 in 10 s */
    const names = ['s', 'y', 'p', 'lambda', 'alpha', 'gamma', 'negatives', 'beta', 'n', 'map', 'at', 'weighted', 'lines', 'arrows', 'path', 'x'];
    const parts = ['0', '1', '', 'nan', 'Infinity', '-1', '1e308', '1e-308', '.5', '0.5,0.2', '1,', '101', '0'.repeat(200), '1e6', 'any_loss', 'product', 'RdBu', '%', '%zz',
      '=', '&', '#', '__proto__', 'constructor', '0.01', '.3,.6', '5,6,7', '1e15', '10', '0,0,0', '128'];
    const limits = {lambda: 1e6, alpha: 1e6, gamma: 100, beta: 1, negatives: 1e15}, wrong = [];
    let seed = 7;
    const draw = most => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 2147483648 * most); };
    for (let k = 0; k < n; k++) {
      const hash = Array.from({length: 1 + draw(6)}, () => names[draw(names.length)] + '=' + parts[draw(parts.length)]).join('&');
      location.hash = hash;
      dispatchEvent(new HashChangeEvent('hashchange'));
      simulate.redraw();
      const s = simulate.state, good = simulate.surfaces.includes(s.surface) && s.y.length === s.p.length && s.y.length >= 2 && s.y.every(y => y === 0 || y === 1) &&
        s.p.every(p => p > 0 && p < 1) && Object.entries(limits).every(([name, most]) => s[name] >= 0 && s[name] <= most) && s.at.every(p => p >= .01 && p <= .99) &&
        s.counts.length === s.y.length && s.counts.every(count => Number.isInteger(count) && count >= 0);
      if (!good || /NaN|undefined|Infinity/.test(document.body.innerText)) wrong.push(hash);
      if (k % 50 === 49) await new Promise(done => setTimeout(done, 20));
    }
    return wrong.slice(0, 3).join(' ');
  },
  async roundTrips() { /* one thing moved, the address taken, all begun again, the address opened: is it the state that was left? */
    const pause = ms => new Promise(done => setTimeout(done, ms)), wrong = [], parts = [{lambda: .37}, {lambda: 1e-7}, {alpha: 0}, {gamma: 2.35}, {y: [0, 1], p: [.5, .5]}, {y: [0, 0], p: [.5, .5]},
      {y: [1, 0, 1], p: [.5, .5, .1]}, {y: [1, 0, 1], p: [.5, .5, .999999]}, {y: Array(128).fill(1), p: Array(128).fill(.5)}, {counts: [1e15, 0]}, {negatives: 0}, {beta: 1}, {weighted: true},
      {weighted: false}, {map: 4}, {lines: false}, {arrows: true}, {path: true}, {at: [.99, .01]}].concat(simulate.surfaces.map(surface => ({surface})));
    for (const part of parts) {
      simulate.set(part);
      await pause(300);
      const wanted = page.state(), hash = location.hash;
      document.getElementById('reset').click();
      history.replaceState(null, '', '#');
      location.hash = hash;
      await pause(30);
      if (page.state() !== wanted) wrong.push(hash.slice(0, 60) + ' gives ' + page.state().slice(0, 200));
      document.getElementById('reset').click();
    }
    return wrong.slice(0, 3).join('; ');
  },
  async slide(id, moves) { /* ms of a redraw while a slider moves: least disturbed tenth, median; median between frames */
    const slider = document.getElementById(id), low = Number(slider.min), high = Number(slider.max), redraws = [], frames = [];
    const frame = () => new Promise(done => requestAnimationFrame(done));
    for (let k = 0; k < moves; k++) {
      slider.value = low + (high - low) * (k % 50) / 50;
      slider.dispatchEvent(new Event('input'));
      const begin = performance.now();
      await frame();
      await frame();
      frames.push((performance.now() - begin) / 2);
      const start = performance.now();
      simulate.redraw();
      redraws.push(performance.now() - start);
    }
    const part = (list, of) => list.sort((a, b) => a - b)[Math.floor(list.length * of)];
    return [part(redraws, .1), part(redraws, .5), part(frames, .5)].map(ms => ms.toFixed(2)).join(' ');
  },
  legend(width) { /* its numbers lie at their values, also where the picture becomes narrower and nothing is drawn anew */
    const picture = document.querySelector('.picture'), bar = document.getElementById('bar'), values = simulate.values(simulate.state.surface), wrong = [];
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b)), ticks = document.querySelectorAll('#ticks-bar span');
    picture.style.maxWidth = width;
    const box = bar.getBoundingClientRect();
    for (const tick of ticks) {
      const at = tick.getBoundingClientRect(), wanted = box.left + (Number(tick.textContent) - low) / (high - low) * box.width;
      if (!(Math.abs(at.left + at.width / 2 - wanted) < 1.5)) wrong.push(tick.textContent + ' lies ' + (at.left + at.width / 2 - wanted).toFixed(0) + ' px away');
    }
    picture.style.maxWidth = '';
    return ticks.length > 4 ? wrong.join('; ') : ticks.length + ' numbers';
  },
  sameColor() { /* the surface at the marker and the legend at its mark */
    const plot = document.getElementById('plot'), bar = document.getElementById('bar'), mark = parseFloat(document.getElementById('bar-mark').style.left) / 100;
    const a = bar.getContext('2d').getImageData(Math.min(255, Math.floor(mark * 256)), 0, 1, 1).data;
    const b = plot.getContext('2d').getImageData(plot.width * .75, plot.height * .25, 1, 1).data;
    return [0, 1, 2].every(i => Math.abs(a[i] - b[i]) < 3) ? '' : `${[...a]} in the legend, ${[...b]} in the picture`;
  },
  through() { /* the contour under the marker passes it, within half a place */
    const s = simulate.state, [x, y] = s.at.map(p => (p - .01) / .98 * 199), path = document.querySelector('#through path');
    const points = path ? (path.getAttribute('d').match(/[-\d.]+ [-\d.]+/g) || []).map(pair => pair.split(' ').map(tenths => tenths / 10)) : [];
    const away = points.reduce((least, [a, b]) => Math.min(least, Math.hypot(a - x, 199 - b - y)), Infinity);
    return away < 1 ? '' : away + ' places away';
  },
  type(id, texts) { /* as a person types it, character by character; then leaves the field */
    const field = document.getElementById(id);
    for (const text of texts) {
      field.value = text;
      field.dispatchEvent(new Event('input'));
    }
    field.dispatchEvent(new Event('change'));
    return field.value;
  },
  printed() {
    const wrong = [];
    for (const selector of ['.theme', '.controls', '.help', '.skip'])
      for (const one of document.querySelectorAll(selector))
        if (checks.visible(one) && getComputedStyle(one).display !== 'contents') wrong.push(selector + ' is printed');
    if (getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)') wrong.push('the paper is not white');
    for (const id of ['plot', 'title', 'state', 'ticks-bar'])
      if (!checks.visible(document.getElementById(id)) && id !== 'ticks-bar') wrong.push(id + ' is not printed');
    return wrong.join('; ');
  },
  together() { /* on a phone: the surface and the sliders within one screen */
    const plot = document.getElementById('plot').getBoundingClientRect(), last = document.getElementById('gamma').getBoundingClientRect();
    return last.bottom - plot.top < 760 ? '' : 'from the surface to the sliders: ' + (last.bottom - plot.top);
  },
};
