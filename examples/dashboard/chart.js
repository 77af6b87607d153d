// A chart that moves: lines or stacked columns over the last minutes, drawn as SVG.
//
// The chart is a slider for the keyboard and for screen readers: its value is the moment that the legend shows.

const [LEFT, RIGHT, TOP, BOTTOM] = [46, 12, 8, 20]; // pixels around the plot

/** An element with properties and children. Strings become text nodes. */
export function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
}

const grouped = new Intl.NumberFormat("en");

/** A number in a few characters. */
export function count(value) {
  if (value === null) {
    return "–";
  }
  if (value >= 9_999.5) {
    return scaled(value, ["k", "M", "G", "T"], "");
  }
  return value < 9.95 ? value.toFixed(1).replace(".0", "") : grouped.format(Math.round(value));
}

export function bytes(value) {
  if (value === null) {
    return "–";
  }
  return value < 999.5 ? `${Math.round(value)} B` : scaled(value, ["kB", "MB", "GB", "TB"], " ");
}

/** A value in the first unit in which it has at most three digits before the point. */
function scaled(value, units, space) {
  const last = units.length - 1;
  const power = Math.max(0, units.findIndex((_, index) => value < 999.5 * 1000 ** (index + 1) || index === last));
  const number = value / 1000 ** (power + 1);
  return `${number < 99.95 ? number.toFixed(1).replace(/\.0$/, "") : Math.round(number)}${space}${units[power]}`;
}

/** The words for a moment before now, which is in milliseconds. */
export function ago(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 1 ? "now" : seconds < 60 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ${seconds % 60} s ago`;
}

/** The distance of the grid's lines: 1, 2 or 5 times a power of ten, so that there are at most four of them. */
function stepOf(most, smallest) {
  const rough = Math.max(most / 4, smallest);
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999_999);
}

export class Chart {
  /**
   * `spec` has a `title`, a `unit`, a `format`, the `series` (each with a `label`, a `color` and `total`), and perhaps
   * `stacked`, `wide`, `empty`. `point` is called with a fraction of the width (or null), `step` with a number of samples.
   */
  constructor(spec, { point, step }) {
    this.spec = spec;
    this.series = spec.series.map((series) => {
      const value = element("dd", {}, "–");
      const swatch = element("span", { className: `swatch ${series.color}` });
      const item = element("div", {}, element("dt", {}, swatch, series.label), value);
      const path = svg("path", { class: `${spec.stacked ? "column" : "line"} ${series.color}` });
      const area = svg("path", { class: `area ${series.color}` });
      const dot = svg("circle", { class: `dot ${series.color}`, r: 3.5 });
      return { ...series, value, item, path, area, dot };
    });
    this.grid = svg("g", { class: "grid" });
    this.gaps = svg("path", { class: "gap" });
    this.cursor = svg("path", { class: "cursor" });
    const [areas, paths, dots] = ["area", "path", "dot"].map((part) => this.series.map((series) => series[part]).reverse());
    // What moves, in two frames, since a point at the edge is wider than the plot.
    this.moving = [svg("g", {}, this.gaps, ...(spec.stacked ? [] : areas.slice(-1)), ...paths), svg("g", {}, this.cursor, ...dots)];
    this.frames = this.moving.map((group) => svg("svg", { x: LEFT }, group));
    this.root = svg("svg", { "aria-hidden": true }, this.grid, ...this.frames);
    this.note = element("p", { className: "note" });
    this.plot = element("div", { className: "plot", tabIndex: 0, role: "slider", ariaLabel: `${spec.title}, ${spec.unit}` }, this.root, this.note);
    this.when = element("span", { className: "when" });
    const caption = element("figcaption", {}, element("h2", {}, spec.title), element("span", { className: "unit" }, spec.unit), this.when);
    this.figure = element("figure", { className: spec.wide ? "card wide" : "card" }, caption, element("dl", {}, ...this.series.map((series) => series.item)), this.plot);
    this.slides = [];
    this.listen(point, step);
  }

  listen(point, step) {
    const fraction = (event) => {
      const { left, width } = this.plot.getBoundingClientRect();
      return (event.clientX - left - LEFT) / (width - LEFT - RIGHT);
    };
    this.plot.onpointermove = (event) => point(fraction(event));
    this.plot.onpointerdown = (event) => point(fraction(event));
    this.plot.onpointerleave = (event) => event.pointerType === "mouse" && point(null);
    this.plot.onkeydown = (event) => {
      const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity }[event.key];
      if (steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        step(steps);
      }
    };
  }

  /**
   * Draws the samples. Each sample has its time `at`, the time `from` of the sample before it (null after a gap), and
   * `values`. `view` also has the `latest` sample, the sample of the `legend`, `now`, `span` and `interval` in
   * milliseconds, `isLive`, `hasCursor`, and `slides`: whether the chart is to move on.
   */
  draw(view) {
    const { samples, now, span, interval, legend } = view;
    const [width, height] = [this.plot.clientWidth - LEFT - RIGHT, this.plot.clientHeight - TOP - BOTTOM];
    this.showLegend(view);
    if (width <= 0 || height <= 0) {
      return;
    }
    const visible = samples.filter((sample) => sample.at >= now - span - 2 * interval);
    const most = Math.max(0, ...visible.map((sample) => this.height(sample)));
    const { smallest = 0.25, least = 1 } = this.spec;
    const step = most === 0 ? least : stepOf(most, smallest);
    const top = step * Math.max(1, Math.ceil(most / step - 1e-9));
    const x = (time) => width * (1 - (now - time) / span);
    const y = (value) => TOP + height * (1 - value / top);

    this.root.setAttribute("viewBox", `0 0 ${this.plot.clientWidth} ${this.plot.clientHeight}`);
    this.frames.forEach((frame, index) => {
      frame.setAttribute("width", width + 5 * index);
      frame.setAttribute("height", TOP + height + 1 + 5 * index);
    });
    this.drawGrid(width, height, span, step, top, y);
    if (this.spec.stacked) {
      this.drawColumns(visible, x, y);
    } else {
      this.drawLines(visible, x, y);
    }
    const gaps = visible.flatMap((sample, index) => (sample.from === null && index > 0 ? [[visible[index - 1].at, sample.at]] : []));
    if (!view.isLive && samples.length > 0) {
      gaps.push([samples.at(-1).at, now + 2 * interval]);
    }
    const rectangle = ([from, to]) => `M${Math.max(-20, x(from)).toFixed(1)} ${TOP}H${x(to).toFixed(1)}V${TOP + height}H${Math.max(-20, x(from)).toFixed(1)}Z`;
    this.gaps.setAttribute("d", gaps.filter(([from, to]) => to > from + interval / 2).map(rectangle).join(""));
    const isPointed = view.hasCursor && legend;
    this.cursor.setAttribute("d", isPointed ? `M${x(legend.at).toFixed(1)} ${TOP}V${TOP + height}` : "");
    for (const { id, dot } of this.series) {
      const value = isPointed && !this.spec.stacked ? legend.values[id] : null;
      dot.setAttribute("visibility", value === null ? "hidden" : "visible");
      dot.setAttribute("transform", `translate(${isPointed ? x(legend.at).toFixed(1) : 0} ${y(value ?? 0).toFixed(1)})`);
    }
    const isEmpty = !visible.some((sample) => this.series.some(({ id }) => sample.values[id] !== null));
    this.note.textContent = isEmpty ? (view.isLive ? "Waiting for values" : "") : most === 0 ? (this.spec.empty ?? "") : "";
    // A step of few pixels needs no animation.
    if (view.slides && (width * interval) / span > 3) {
      const steps = [{ transform: `translateX(${(width * interval) / span}px)` }, { transform: "none" }];
      this.slides.forEach((slide) => slide.cancel());
      this.slides = this.moving.map((group) => group.animate(steps, { duration: interval, easing: "linear" }));
    }
  }

  height({ values }) {
    const numbers = this.series.map(({ id }) => values[id] ?? 0);
    return this.spec.stacked ? numbers.reduce((sum, value) => sum + value, 0) : Math.max(...numbers);
  }

  drawGrid(width, height, span, step, top, y) {
    const parts = [];
    for (let index = 0; index * step <= top * 1.001; index += 1) {
      const line = y(index * step).toFixed(1);
      parts.push(svg("path", { d: `M${LEFT} ${line}h${width}`, class: index === 0 ? "base" : "" }));
      parts.push(svg("text", { x: LEFT - 8, y: +line + 4, "text-anchor": "end" }, this.spec.format(index * step)));
    }
    const seconds = span / 1000;
    const labels = width < 260 ? 2 : seconds === 60 ? 4 : 5;
    for (let index = 0; index <= labels; index += 1) {
      const before = seconds - (seconds * index) / labels;
      const label = before === 0 ? "now" : seconds > 60 ? `−${before / 60} min` : `−${before} s`;
      const anchor = index === labels ? "end" : "middle";
      parts.push(svg("text", { x: LEFT + (width * index) / labels, y: TOP + height + 16, "text-anchor": anchor }, label));
    }
    this.grid.replaceChildren(...parts);
  }

  drawLines(samples, x, y) {
    for (const { id, path, area } of this.series) {
      let [line, fill, start, last] = ["", "", null, null];
      const end = () => {
        if (start !== null) {
          fill += `L${last} ${y(0).toFixed(1)}H${start}Z`;
        }
        start = null;
      };
      for (const { at, from, values } of samples) {
        const value = values[id];
        if (value === null || from === null) {
          end();
        }
        if (value !== null) {
          last = x(at).toFixed(1);
          const point = `${start === null ? "M" : "L"}${last} ${y(value).toFixed(1)}`;
          line += start === null ? `${point}h0` : point;
          fill += point;
          start ??= last;
        }
      }
      end();
      path.setAttribute("d", line);
      area.setAttribute("d", fill);
    }
  }

  /** Each column is as wide as the time that its rate is about. */
  drawColumns(samples, x, y) {
    const sums = samples.map(() => 0);
    for (const { id, path } of this.series) {
      let d = "";
      samples.forEach(({ at, from, values }, index) => {
        if (values[id] > 0 && from !== null) {
          const [left, right] = [x(from), x(at)];
          const space = right - left > 4 ? 1 : 0;
          const [low, high] = [y(sums[index]), y(sums[index] + values[id])];
          d += `M${left.toFixed(1)} ${low.toFixed(1)}V${high.toFixed(1)}H${(right - space).toFixed(1)}V${low.toFixed(1)}Z`;
          sums[index] += values[id];
        }
      });
      path.setAttribute("d", d);
    }
  }

  showLegend({ legend, now, span, latest, hasCursor, isLive }) {
    const words = [];
    for (const { id, label, item, value, total } of this.series) {
      value.textContent = this.spec.format(legend ? legend.values[id] : null);
      // A cause that has not occurred takes no space.
      item.hidden = this.spec.stacked && !(latest && total(latest.stats) > 0);
      if (!item.hidden) {
        words.push(`${label} ${value.textContent}`);
      }
    }
    const when = hasCursor && legend ? ago(now - legend.at) : hasCursor || !isLive ? "no values" : "now";
    this.when.textContent = when === "now" && !hasCursor ? "" : when;
    this.plot.ariaValueMin = -span / 1000;
    this.plot.ariaValueMax = 0;
    // A screen reader reads each change of the element that has the focus.
    if (document.activeElement !== this.plot || hasCursor) {
      this.plot.ariaValueNow = legend ? Math.max(-span / 1000, Math.round((legend.at - now) / 1000)) : 0;
      this.plot.ariaValueText = [when, ...words].join(", ");
    }
  }
}
