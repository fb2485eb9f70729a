/* Questions to a page, evaluated by tests/evaluate/browser.c. Each returns '' or what is wrong. */
var checks = {
  visible(element) {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    return box.width > 0 && box.height > 0 && style.visibility !== 'hidden' && style.display !== 'none';
  },
  openAll() {
    document.querySelectorAll('details').forEach(one => { one.open = true; });
    return '';
  },
  eachVersion(ask) {
    const radios = [...document.querySelectorAll('input[name=version]')], wrong = [];
    if (radios.length === 0) return ask();
    for (const radio of radios) {
      radio.checked = true;
      const said = ask(radio.id);
      if (said) wrong.push(radio.id + ': ' + said);
    }
    radios[0].checked = true;
    return wrong.join('; ');
  },
  figures(ids) {
    const wrong = [];
    const look = id => {
      const svg = document.getElementById(id), box = svg && svg.getBoundingClientRect();
      if (!svg) return id + ' is missing';
      if (box.width < 150 || box.height < 80) return id + ' is ' + box.width + ' x ' + box.height;
      const marks = [...svg.querySelectorAll('.panel .ln,.panel .dot,.heat path')].filter(mark => checks.visible(mark) || mark.getBoundingClientRect().width > 0);
      if (marks.length === 0) return id + ' is empty';
      if (!svg.getAttribute('aria-label') || !svg.querySelector('desc')) return id + ' has no text';
      return '';
    };
    checks.openAll();
    for (const id of ids) {
      const radio = document.getElementById('v' + (id.split('-')[2] || ''));
      if (radio) radio.checked = true;
      const said = look(id);
      if (said) wrong.push(said);
    }
    for (const svg of document.querySelectorAll('svg.chart[id]'))
      if (!ids.includes(svg.id)) wrong.push(svg.id + ' is not expected');
    const first = document.getElementById('v0');
    if (first) first.checked = true;
    return wrong.slice(0, 8).join('; ');
  },
  overflow() {
    checks.openAll();
    return checks.eachVersion(() => {
      const width = document.documentElement.clientWidth, wide = [];
      if (document.documentElement.scrollWidth <= width) return '';
      for (const element of document.querySelectorAll('main *'))
        if (element.getBoundingClientRect().right > width + 1 && !element.closest('.scroll')) wide.push(element.tagName + '.' + element.className);
      return 'the page is ' + document.documentElement.scrollWidth + ' wide, not ' + width + ' (' + wide.slice(0, 3) + ')';
    });
  },
  controls() {
    const all = [...document.querySelectorAll('a[href],button,input,summary,[tabindex="0"]')];
    return all.filter(one => checks.visible(one) && !one.closest('details:not([open]) > :not(summary)'));
  },
  startTabbing() {
    this.reached = new Set();
    this.unseen = [];
    document.activeElement.blur();
    getSelection().removeAllRanges();
    scrollTo(0, 0);
    return String(checks.controls().length);
  },
  noteFocus() {
    const at = document.activeElement;
    if (!at || at === document.body) return 'none';
    const outlined = element => element && getComputedStyle(element).outlineStyle !== 'none' && parseFloat(getComputedStyle(element).outlineWidth) >= 1;
    if (!this.reached.has(at) && ![at, at.nextElementSibling, at.parentElement].some(outlined)) this.unseen.push(at.outerHTML.slice(0, 80));
    const again = this.reached.has(at);
    this.reached.add(at);
    return again ? 'again' : 'new';
  },
  endTabbing() {
    const radio = one => one.type === 'radio' && [...this.reached].some(other => other.name === one.name && other.type === 'radio');
    const left = checks.controls().filter(one => !this.reached.has(one) && !radio(one));
    return left.slice(0, 4).map(one => 'not reached: ' + one.outerHTML.slice(0, 80)).concat(this.unseen.slice(0, 4).map(one => 'focus not seen: ' + one)).join('; ');
  },
  sorted(column, sign) {
    const table = document.querySelector('table.sortable'), rows = [...table.tBodies[0].rows];
    const values = rows.map(row => Number(row.cells[column].textContent));
    const good = values.every((value, i) => i === 0 || sign * (value - values[i - 1]) >= 0);
    return good ? '' : values.join(' ');
  },
  contrast() {
    const wrong = new Set();
    const parse = colour => (colour.match(/[\d.]+/g) || []).map(Number);
    const luminance = rgb => rgb.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : Math.pow((v + .055) / 1.055, 2.4))
      .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const backOf = element => {
      for (; element; element = element.parentElement) {
        const colour = parse(getComputedStyle(element).backgroundColor);
        if (colour.length === 3 || colour[3] > .99) return colour;
      }
      return [255, 255, 255];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode());) {
      const element = node.parentElement;
      if (!node.data.trim() || !checks.visible(element) || element.closest('script,style,desc,title,.heat .on,.skip,.pixels')) continue;
      const svg = element instanceof SVGElement, style = getComputedStyle(element);
      const a = luminance(parse(svg ? style.fill : style.color)), b = luminance(backOf(element));
      const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      if (!(ratio >= 4.5)) wrong.add(node.data.trim().slice(0, 20) + ' ' + ratio.toFixed(2));
    }
    return [...wrong].slice(0, 6).join('; ');
  },
  wellFormed(text) {
    const wrong = new DOMParser().parseFromString(text, 'image/svg+xml').querySelector('parsererror');
    return wrong ? wrong.textContent.slice(0, 200) : '';
  },
  scheme() {
    const back = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
    return back[0] > 128 ? 'light' : 'dark';
  },
  printed() {
    const wrong = [];
    for (const selector of ['.theme', '.tabs', '.chips', 'nav', '.tools'])
      for (const one of document.querySelectorAll(selector))
        if (checks.visible(one)) wrong.push(selector + ' is printed');
    if (getComputedStyle(document.body).backgroundColor !== 'rgb(255, 255, 255)') wrong.push('the paper is not white');
    for (const svg of document.querySelectorAll('#p0 details.class svg.chart'))
      if (!checks.visible(svg)) wrong.push(svg.id + ' is not printed');
    return wrong.slice(0, 5).join('; ');
  },
};
