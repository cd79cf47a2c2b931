"""Style and script of the report, plain CSS and JavaScript."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --ink: #1c1d1f; --muted: #5c6068; --rule: #dcdde0; --card: #fff;
  --s0: #2467c9; --s1: #c4570c; --s2: #178a5f; --s3: #8a4bc0; --s4: #b8860b; --s5: #c03070; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e8e9eb; --muted: #a0a5ad; --rule: #33373d;
  --card: #1e2125;  --s0: #6ca6ff; --s1: #ff9a52; --s2: #4fcf9d; --s3: #c596f5; --s4: #e3b94d; --s5: #ff86b4; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1380px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 20px; margin: 0; } h3 { font-size: 15px; margin: 24px 0 6px; }
section { border-top: 1px solid var(--rule); margin-top: 32px; padding-top: 20px; }
.muted, figcaption { color: var(--muted); font-size: 13px; margin: 4px 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--rule); white-space: nowrap; }
.legend span { margin-right: 18px; } .legend span::before { content: ''; display: inline-block; width: 14px; height: 4px;
  border-radius: 2px; background: var(--c); margin-right: 6px; vertical-align: middle; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); }
.s3 { --c: var(--s3); } .s4 { --c: var(--s4); } .s5 { --c: var(--s5); }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); gap: 16px; }
.curves:empty { display: none; }
figure { margin: 0; } svg { display: block; width: 100%; } svg text { fill: var(--muted); font-size: 11px; }
.grid { stroke: var(--rule); } .line { fill: none; stroke: var(--c); stroke-width: 1.6; stroke-linejoin: round; }
circle { fill: var(--c); fill-opacity: .85; } .cursor { stroke: var(--muted); stroke-dasharray: 3 3; }
output { float: right; color: var(--ink); font-variant-numeric: tabular-nums; }
.strip { display: grid; grid-template-columns: repeat(4, minmax(0, 320px)); gap: 10px; margin-bottom: 16px; }
.strip img { display: block; width: 100%; border-radius: 4px; }
summary { font-weight: 600; cursor: pointer; margin: 14px 0 6px; }
.scale { display: inline-block; width: 90px; height: 10px; border-radius: 2px;
  background: linear-gradient(90deg, #1848c0, #fafafa, #c02020); border: 1px solid var(--rule); }
.cloud { margin: 18px 0 8px; max-width: 900px; }
.cloud canvas { width: 100%; background: var(--card); border: 1px solid var(--rule); border-radius: 6px; touch-action: none;
  cursor: grab; display: block; margin-top: 6px; }
button { font: inherit; font-size: 13px; color: var(--ink); background: var(--card); border: 1px solid var(--rule);
  border-radius: 4px; padding: 3px 12px; margin-right: 6px; cursor: pointer; }
button.on { background: var(--ink); color: var(--paper); } label { font-size: 13px; color: var(--muted); margin-left: 10px; }
input { vertical-align: middle; }
@media (max-width: 700px) { .strip { grid-template-columns: repeat(2, 1fr); } }
"""

SCRIPT = """
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

for (const box of document.querySelectorAll('.cloud')) {
  const canvas = box.querySelector('canvas'), pen = canvas.getContext('2d'), zoom = box.querySelector('input');
  const buttons = [...box.querySelectorAll('button')], centre = buttons[0].dataset.centre.split(',').map(Number);
  const W = canvas.width, H = canvas.height;
  let yaw = 0.35, pitch = 0.15, cloud = null;
  function show(button) {
    buttons.forEach(other => other.classList.toggle('on', other === button));
    const data = button.dataset;
    cloud = {xyz: new Int16Array(bytes(data.xyz).buffer), rgb: bytes(data.rgb), unit: +data.unit};
    draw();
  }
  function draw() {
    const image = pen.createImageData(W, H), nearest = new Float32Array(W * H).fill(Infinity);
    const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
    const away = centre[2], focal = 1.2 * H * 2 ** zoom.value;
    for (let i = 0; i < cloud.xyz.length; i += 3) {
      const x = cloud.xyz[i] * cloud.unit - centre[0], y = cloud.xyz[i + 1] * cloud.unit - centre[1];
      const z = cloud.xyz[i + 2] * cloud.unit - centre[2];
      const x1 = cy * x + sy * z, z1 = cy * z - sy * x, y1 = cp * y - sp * z1, z2 = sp * y + cp * z1 + 1.15 * away;
      if (z2 < 0.05 * away) continue;
      const u = Math.round(W / 2 + focal * x1 / z2), v = Math.round(H / 2 + focal * y1 / z2);
      const size = Math.min(7, Math.max(2, Math.round(4.5 * away / z2)));
      for (let b = v; b < v + size; b++) for (let a = u; a < u + size; a++) {
        const at = b * W + a;
        if (a < 0 || b < 0 || a >= W || b >= H || nearest[at] <= z2) continue;
        nearest[at] = z2;
        image.data.set([cloud.rgb[i], cloud.rgb[i + 1], cloud.rgb[i + 2], 255], 4 * at);
      }
    }
    pen.putImageData(image, 0, 0);
  }
  function turn(dx, dy) { yaw += dx; pitch = Math.max(-1.5, Math.min(1.5, pitch + dy)); draw(); }
  canvas.onpointerdown = event => canvas.setPointerCapture(event.pointerId);
  canvas.onpointermove = event => { if (event.buttons) turn(-event.movementX / 200, event.movementY / 200); };
  canvas.onkeydown = event => {
    const way = {ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1]}[event.key];
    if (way) { event.preventDefault(); turn(...way); }
  };
  zoom.oninput = draw;
  buttons.forEach(button => button.onclick = () => show(button));
  show(buttons[0]);
}

for (const figure of document.querySelectorAll('.curve')) {
  const svg = figure.querySelector('svg'), said = figure.querySelector('output'), data = figure.dataset;
  const series = JSON.parse(data.series);
  const count = series[0][1].length, {width, height} = svg.viewBox.baseVal;
  const cursor = document.createElementNS(svg.namespaceURI, 'path');
  cursor.setAttribute('class', 'cursor');
  svg.append(cursor);
  svg.onpointermove = event => {
    const frame = svg.getBoundingClientRect(), room = width - data.left - data.right;
    const share = ((event.clientX - frame.left) / frame.width * width - data.left) / room;
    const index = Math.max(0, Math.min(count - 1, Math.round(share * (count - 1))));
    cursor.setAttribute('d', `M${+data.left + index / Math.max(1, count - 1) * room},8V${height - 20}`);
    said.textContent = `${index}: ` + series.map(([name, values]) => `${name} ${values[index]}`).join(', ');
  };
  svg.onpointerleave = () => { cursor.removeAttribute('d'); said.textContent = ''; };
}
"""
