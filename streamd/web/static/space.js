// A depth picture in three dimensions: what is drawn, from where, and for which eyes. Pixels go from the video to the
// graphics card and stay there.

/** @import { Lens } from './geometry.js' */

import { fittingFov, makeGrid, tangents } from './geometry.js';
import { ANAGLYPH, SMOOTH } from './space-shaders.js';
import { cover, dispose, shapesOf } from './space-shapes.js';
import * as THREE from './three.module.min.js';
import { OrbitControls } from './three.orbit-controls.js';

const BACKGROUND = 0x050308;
const PIVOT = 3; // distance of what the camera turns about: between NEAREST and FARTHEST, in steps of inverse depth
const SWING = { radians: 0.05, periodMs: 4000 };
const EYES = 1 / 80; // of the distance to the pivot, between them: easy to look at
const STEP = { radians: 0.06, zoom: 1.1, pan_px: 24 };

/** @typedef {'none' | 'anaglyph' | 'side-by-side'} Stereo */
/** @typedef {{mesh: boolean, size: number, clip: number, stereo: Stereo, wiggle: boolean}} Look */

export class Space {
  /** @type {Look} */
  look = { mesh: true, size: 1.2, clip: 0.02, stereo: 'none', wiggle: false };
  #changed = true;
  #aspect = 0; // of the picture
  #width = 0; // of it and its depth
  #textureVersion = -1;
  #fovDegrees = 0;
  /** @type {THREE.Texture | null} */
  #texture = null;
  /** @type {THREE.Mesh[]} */
  #shapes = [];
  #scene = new THREE.Scene();
  #camera = new THREE.PerspectiveCamera(50, 1, 0.02, 60);
  #eye = new THREE.PerspectiveCamera(); // the camera, swung
  #eyes = new THREE.StereoCamera();
  #smoothed = new THREE.WebGLRenderTarget(1, 1, {
    type: THREE.HalfFloatType, minFilter: THREE.NearestFilter, magFilter: THREE.NearestFilter, depthBuffer: false,
  });
  #left = new THREE.WebGLRenderTarget(1, 1);
  #right = new THREE.WebGLRenderTarget(1, 1);
  #uniforms = {
    picture: { value: /** @type {THREE.Texture | null} */ (null) },
    depth: { value: this.#smoothed.texture },
    cell: { value: new THREE.Vector2() },
    tangents: { value: new THREE.Vector2() },
    logStrength: { value: 0 },
    clip: { value: 0 },
    size: { value: 1 },
    height_px: { value: 1 },
  };
  #smoother = cover(SMOOTH, this.#uniforms);
  #mixer = cover(ANAGLYPH, { left: { value: this.#left.texture }, right: { value: this.#right.texture } });

  /**
   * Raises Error without WebGL 2.
   * @param {HTMLCanvasElement} canvas
   * @param {{picture: () => HTMLVideoElement | HTMLCanvasElement | null, onHold: () => void, calm: boolean}} options
   *   `picture` gives what plays now, picture | gray; onHold() when a hand takes the scene; calm: nothing moves by itself
   */
  constructor(canvas, { picture, onHold, calm }) {
    this.canvas = canvas;
    this.picture = picture;
    this.renderer = new THREE.WebGLRenderer({ canvas }); // no antialiasing: four times the work where the processor draws
    this.renderer.setClearColor(BACKGROUND);
    this.controls = new OrbitControls(this.#camera, canvas);
    Object.assign(this.controls, { enableDamping: !calm, dampingFactor: 0.15, minDistance: 0.3, maxDistance: 20 });
    this.look.wiggle = !calm;
    this.controls.target.set(0, 0, -PIVOT);
    this.controls.update();
    this.controls.saveState(); // where the camera is that took the picture
    this.controls.addEventListener('start', onHold);
    this.controls.addEventListener('change', () => { this.#changed = true; });
    this.resized = new ResizeObserver(() => { this.#changed = true; });
    this.resized.observe(canvas);
    this.start();
  }

  start() {
    this.renderer.setAnimationLoop((timeMs) => { this.#tick(timeMs); });
  }

  /** Nothing is drawn until it is started again. */
  pause() {
    this.renderer.setAnimationLoop(null);
  }

  /** @param {Partial<Look>} change */
  show(change) {
    Object.assign(this.look, change);
    this.#changed = true;
  }

  /** @param {Lens} lens */
  setLens({ fovDegrees, logStrength }) {
    if (fovDegrees === this.#fovDegrees && logStrength === this.#uniforms.logStrength.value) return;
    this.#fovDegrees = fovDegrees;
    this.#uniforms.logStrength.value = logStrength;
    this.#changed = true;
  }

  /** @param {{left?: number, up?: number}} steps */
  turn({ left = 0, up = 0 }) {
    if (left) this.controls.rotateLeft(left * STEP.radians);
    if (up) this.controls.rotateUp(up * STEP.radians);
  }

  /** @param {{left?: number, up?: number}} steps */
  move({ left = 0, up = 0 }) {
    this.controls.pan(left * STEP.pan_px, up * STEP.pan_px);
  }

  zoomIn() {
    this.controls.dollyIn(STEP.zoom);
  }

  zoomOut() {
    this.controls.dollyOut(STEP.zoom);
  }

  reset() {
    this.controls.reset();
  }

  /** Gives all of it back to the graphics card. */
  dispose() {
    this.pause();
    this.resized.disconnect();
    this.controls.dispose();
    this.#texture?.dispose();
    for (const target of [this.#smoothed, this.#left, this.#right]) target.dispose();
    dispose([this.#smoother, this.#mixer, ...this.#shapes]);
    this.renderer.dispose();
    this.renderer.forceContextLoss(); // a browser has sixteen, and waits for its garbage collector
  }

  /** @param {number} timeMs */
  #tick(timeMs) {
    this.controls.update(); // goes on for a while after the hand has left
    const isNew = this.#takePicture();
    if (!isNew && !this.#changed && !this.look.wiggle) return;
    this.#changed = false;
    if (!this.#shapes.length) return;
    if (isNew) this.#draw(this.#smoother, this.#smoothed);
    this.#fit();
    this.#swing(this.look.wiggle ? (timeMs / SWING.periodMs) * 2 * Math.PI : 0);
    this.#render();
  }

  /** Whether there is a new one. */
  #takePicture() {
    const picture = this.picture();
    if (!picture) return false;
    const isVideo = picture instanceof HTMLVideoElement;
    const [width, height] = isVideo ? [picture.videoWidth, picture.videoHeight] : [picture.width, picture.height];
    if (!width || !height) return false;
    if (this.#texture?.image !== picture || this.#width !== width || this.#aspect !== width / 2 / height) this.#follow(picture, width, height);
    if (this.#texture instanceof THREE.VideoTexture) this.#texture.update();
    else if (this.#texture) this.#texture.needsUpdate = true; // single pictures: nobody tells which is new
    const isNew = this.#texture?.version !== this.#textureVersion;
    this.#textureVersion = this.#texture?.version ?? -1;
    return isNew;
  }

  /**
   * @param {HTMLVideoElement | HTMLCanvasElement} picture
   * @param {number} width
   * @param {number} height
   */
  #follow(picture, width, height) {
    this.#texture?.dispose();
    this.#texture = picture instanceof HTMLVideoElement ? new THREE.VideoTexture(picture) : new THREE.Texture(picture);
    Object.assign(this.#texture, { generateMipmaps: false, minFilter: THREE.LinearFilter });
    this.#uniforms.picture.value = this.#texture;
    this.#textureVersion = -1;
    this.#width = width;
    const aspect = width / 2 / height;
    if (aspect === this.#aspect) return;
    this.#aspect = aspect;
    this.#shape(aspect);
  }

  /** @param {number} aspect */
  #shape(aspect) {
    const grid = makeGrid(aspect);
    this.#smoothed.setSize(grid.columns, grid.rows);
    this.#uniforms.cell.value.set(1 / grid.columns, 1 / grid.rows);
    dispose(this.#shapes);
    this.#shapes = shapesOf(grid, this.#uniforms);
    this.#scene = new THREE.Scene();
    this.#scene.add(...this.#shapes);
  }

  /** The canvas to its box, the camera to the picture. */
  #fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = Math.min(devicePixelRatio, 2);
    if (this.canvas.width !== Math.floor(width * ratio) || this.canvas.height !== Math.floor(height * ratio)) {
      this.renderer.setPixelRatio(ratio);
      this.renderer.setSize(width, height, false);
    }
    const { look } = this;
    const seen = tangents(this.#fovDegrees, this.#aspect);
    const aspect = width / height / (look.stereo === 'side-by-side' ? 2 : 1);
    Object.assign(this.#camera, { aspect, fov: fittingFov(seen, aspect) });
    this.#camera.updateProjectionMatrix();
    this.#uniforms.tangents.value.set(...seen);
    this.#uniforms.clip.value = look.clip;
    this.#uniforms.size.value = look.size;
    this.#uniforms.height_px.value = height * ratio;
    this.#shapes.forEach((shape, i) => { shape.visible = look.mesh === (i === 0); });
  }

  /** @param {number} phase */
  #swing(phase) {
    const { target } = this.controls;
    this.#eye.copy(this.#camera);
    const offset = new THREE.Vector3().copy(this.#camera.position).sub(target);
    this.#eye.position.copy(target).add(offset.applyAxisAngle(this.#eye.up, SWING.radians * Math.sin(phase)));
    this.#eye.lookAt(target);
    this.#eye.updateMatrixWorld();
  }

  #render() {
    const { stereo } = this.look;
    if (stereo === 'none') {
      this.#draw(this.#scene, null, this.#eye);
      return;
    }
    const { target } = this.controls;
    this.#eye.focus = new THREE.Vector3().copy(this.#camera.position).sub(target).length();
    this.#eyes.eyeSep = this.#eye.focus * EYES;
    this.#eyes.update(this.#eye);
    if (stereo === 'anaglyph') this.#renderAnaglyph();
    else this.#renderSideBySide();
  }

  #renderAnaglyph() {
    const size = this.renderer.getDrawingBufferSize(new THREE.Vector2());
    for (const target of [this.#left, this.#right]) target.setSize(size.x, size.y);
    this.#draw(this.#scene, this.#left, this.#eyes.cameraL);
    this.#draw(this.#scene, this.#right, this.#eyes.cameraR);
    this.#draw(this.#mixer, null);
  }

  #renderSideBySide() {
    const { clientWidth, clientHeight: height } = this.canvas;
    const width = clientWidth / 2;
    this.renderer.setScissorTest(true);
    [this.#eyes.cameraL, this.#eyes.cameraR].forEach((eye, i) => {
      this.renderer.setScissor(i * width, 0, width, height);
      this.renderer.setViewport(i * width, 0, width, height);
      this.#draw(this.#scene, null, eye);
    });
    this.renderer.setScissorTest(false);
    this.renderer.setViewport(0, 0, clientWidth, height);
  }

  /**
   * @param {THREE.Object3D} what
   * @param {THREE.WebGLRenderTarget | null} target null: the screen
   */
  #draw(what, target, camera = this.#camera) {
    this.renderer.setRenderTarget(target);
    this.renderer.render(what, camera);
  }
}
