// Of three.js, what the page uses: its own types are many megabytes. https://threejs.org/docs

export const GLSL3: string;
export const HalfFloatType: number;
export const LinearFilter: number;
export const NearestFilter: number;

export class Vector2 {
  constructor(x?: number, y?: number);
  x: number;
  y: number;
  set(x: number, y: number): this;
}

export class Vector3 {
  constructor(x?: number, y?: number, z?: number);
  x: number;
  y: number;
  z: number;
  set(x: number, y: number, z: number): this;
  copy(other: Vector3): this;
  sub(other: Vector3): this;
  add(other: Vector3): this;
  length(): number;
  applyAxisAngle(axis: Vector3, radians: number): this;
}

export class Object3D {
  visible: boolean;
  frustumCulled: boolean;
  position: Vector3;
  up: Vector3;
  add(...children: Object3D[]): this;
  lookAt(at: Vector3): void;
  updateMatrixWorld(): void;
}

export class Scene extends Object3D {}

export class Camera extends Object3D {}

export class PerspectiveCamera extends Camera {
  constructor(fov?: number, aspect?: number, near?: number, far?: number);
  fov: number;
  aspect: number;
  focus: number;
  copy(other: PerspectiveCamera): this;
  updateProjectionMatrix(): void;
}

export class StereoCamera {
  aspect: number;
  eyeSep: number;
  cameraL: PerspectiveCamera;
  cameraR: PerspectiveCamera;
  update(camera: PerspectiveCamera): void;
}

export class BufferAttribute {
  constructor(array: ArrayLike<number>, itemSize: number);
}

export class BufferGeometry {
  setAttribute(name: string, attribute: BufferAttribute): this;
  setIndex(index: BufferAttribute): this;
  dispose(): void;
}

export class Texture {
  constructor(image?: TexImageSource);
  image: TexImageSource;
  needsUpdate: boolean;
  version: number;
  generateMipmaps: boolean;
  minFilter: number;
  dispose(): void;
}

export class VideoTexture extends Texture {
  constructor(video: HTMLVideoElement);
  update(): void;
}

export interface Uniform {
  value: unknown;
}

export class ShaderMaterial {
  constructor(options: {
    glslVersion: string;
    vertexShader: string;
    fragmentShader: string;
    uniforms: Record<string, Uniform>;
    side?: number;
    depthTest?: boolean;
  });
  dispose(): void;
}

export const DoubleSide: number;

export class Mesh extends Object3D {
  constructor(geometry: BufferGeometry, material: ShaderMaterial);
  geometry: BufferGeometry;
  material: ShaderMaterial;
}

export class Points extends Mesh {}

export class WebGLRenderTarget {
  constructor(width: number, height: number, options?: { type?: number; minFilter?: number; magFilter?: number; depthBuffer?: boolean });
  texture: Texture;
  setSize(width: number, height: number): void;
  dispose(): void;
}

export class WebGLRenderer {
  constructor(options: { canvas: HTMLCanvasElement });
  setAnimationLoop(loop: ((timeMs: number) => void) | null): void;
  setClearColor(colour: number): void;
  setPixelRatio(ratio: number): void;
  setSize(width: number, height: number, style?: boolean): void;
  setRenderTarget(target: WebGLRenderTarget | null): void;
  setScissorTest(on: boolean): void;
  setScissor(x: number, y: number, width: number, height: number): void;
  setViewport(x: number, y: number, width: number, height: number): void;
  getDrawingBufferSize(size: Vector2): Vector2;
  render(scene: Object3D, camera: Camera): void;
  forceContextLoss(): void;
  dispose(): void;
}
