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
  small() { /* the small pictures, each with more than one colour */
    const wrong = [...document.querySelectorAll('#matrix canvas')].filter(canvas => {
      const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
      return new Set(data).size < 8;
    });
    return document.querySelectorAll('#matrix canvas').length + ' ' + wrong.length;
  },
  shownValue() { /* the value read out is the surface's at the marker, between its neighbours on the grid */
    const s = simulate.state, n = 200, values = simulate.values(s.surface), place = s.at.map(p => (p - .01) / .98 * (n - 1));
    const i = Math.floor(place[0]), j = Math.floor(place[1]), near = [0, 1, n, n + 1].map(k => values[j * n + i + k]);
    const shown = Number(document.getElementById('value').textContent.replace('\u2212', '-'));
    return shown >= Math.min(...near) - 1e-3 && shown <= Math.max(...near) + 1e-3 ? '' : shown + ' is not within ' + near;
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
