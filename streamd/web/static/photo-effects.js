// Blur by depth, and a tilt in 3-D, in WebGL 2: two small fragment shaders over a picture and its depth.

/** What is to be drawn. Shares of the range for depths, of the width for lengths, -1 to 1 for the tilt. */
/** @typedef {{mode: 'blur' | 'tilt', focus: number, strength: number, tilt: [number, number]}} Effect */

const VERTEX = `#version 300 es
out vec2 at;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  at = vec2(corner.x, 1.0 - corner.y);
  gl_Position = vec4(corner * 2.0 - 1.0, 0, 1);
}`;

const HEAD = `#version 300 es
precision highp float;
uniform sampler2D picture, depth;
uniform float focus, strength, aspect;
uniform vec2 tilt;
in vec2 at;
out vec4 colour;
float near(vec2 place) { return texture(depth, clamp(place, 0.0, 1.0)).r; }
vec3 seen(vec2 place) { return texture(picture, clamp(place, 0.0, 1.0)).rgb; }
`;

// Each pixel gathers those around it whose circle of confusion reaches it; one farther than this does not bleed over it.
const BLUR = `${HEAD}
const int TAPS = 120;
float circle(float d) { return strength * abs(d - focus); }
void main() {
  float own = near(at), ownCircle = circle(own), total = 1.0;
  vec3 sum = seen(at);
  for (int i = 1; i < TAPS; i++) {
    float radius = strength * sqrt(float(i) / float(TAPS)), angle = float(i) * 2.39996;
    vec2 place = at + radius * vec2(cos(angle), sin(angle) * aspect);
    float other = near(place), reach = circle(other);
    if (other < own) reach = min(reach, ownCircle);
    float weight = smoothstep(radius - 0.0015, radius + 0.0015, reach);
    sum += mix(sum / total, seen(place), weight);
    total += 1.0;
  }
  colour = vec4(sum / total, 1);
}`;

// The eye's ray is followed from near to far, until it meets the depth.
const TILT = `${HEAD}
const int STEPS = 64;
void main() {
  float zoom = 1.0 - strength;
  vec2 place = (at - 0.5) * zoom + 0.5, slope = tilt * strength * vec2(1, aspect);
  float before = 1.0, missed = 0.0;
  for (int i = 0; i <= STEPS; i++) {
    float level = 1.0 - float(i) / float(STEPS);
    float gap = level - near(place - slope * (level - focus));
    if (gap <= 0.0) {
      float share = missed / max(missed - gap, 1e-6);
      level = mix(before, level, share);
      colour = vec4(seen(place - slope * (level - focus)), 1);
      return;
    }
    before = level;
    missed = gap;
  }
  colour = vec4(seen(place + slope * focus), 1);
}`;

export class Effects {
  #gl;
  /** @type {Map<string, WebGLProgram>} */
  #programs = new Map();
  /** @type {WebGLTexture[]} */
  #textures = [];

  /** @param {HTMLCanvasElement} canvas Raises TypeError where there is no WebGL 2. */
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext('webgl2', { preserveDrawingBuffer: true, antialias: false });
    if (!gl) throw new TypeError('This browser has no WebGL 2.');
    this.#gl = gl;
  }

  /**
   * The picture and its depth, of one size.
   * @param {HTMLCanvasElement} picture
   * @param {Float32Array<ArrayBuffer>} shares 0 farthest, 1 nearest
   */
  load(picture, shares) {
    const gl = this.#gl;
    this.canvas.width = picture.width;
    this.canvas.height = picture.height;
    for (const texture of this.#textures) gl.deleteTexture(texture);
    this.#textures = [this.#texture(0), this.#texture(1)];
    gl.activeTexture(gl.TEXTURE0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, picture);
    gl.activeTexture(gl.TEXTURE1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16F, picture.width, picture.height, 0, gl.RED, gl.FLOAT, shares);
  }

  /** @param {Effect} effect */
  draw({ mode, focus, strength, tilt }) {
    const gl = this.#gl;
    const program = this.#program(mode);
    const { width, height } = this.canvas;
    gl.viewport(0, 0, width, height);
    gl.useProgram(program);
    const place = (/** @type {string} */ name) => gl.getUniformLocation(program, name);
    gl.uniform1i(place('picture'), 0);
    gl.uniform1i(place('depth'), 1);
    gl.uniform1f(place('focus'), focus);
    gl.uniform1f(place('strength'), strength);
    gl.uniform1f(place('aspect'), width / height);
    gl.uniform2f(place('tilt'), ...tilt);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  /** @param {number} unit */
  #texture(unit) {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    for (const size of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, size, gl.LINEAR);
    return texture;
  }

  /** @param {'blur' | 'tilt'} mode */
  #program(mode) {
    const known = this.#programs.get(mode);
    if (known) return known;
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, code] of /** @type {const} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, mode === 'blur' ? BLUR : TILT]])) {
      const shader = gl.createShader(kind);
      if (!shader) throw new TypeError('The browser has lost its WebGL.');
      gl.shaderSource(shader, code);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new TypeError(gl.getProgramInfoLog(program) ?? 'no shader');
    this.#programs.set(mode, program);
    return program;
  }
}
