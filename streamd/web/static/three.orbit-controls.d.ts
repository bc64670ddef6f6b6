// Of three.js's OrbitControls, what the page uses.

import type { PerspectiveCamera, Vector3 } from './three.module.min.js';

export class OrbitControls {
  constructor(camera: PerspectiveCamera, element: HTMLElement);
  target: Vector3;
  enableDamping: boolean;
  dampingFactor: number;
  minDistance: number;
  maxDistance: number;
  addEventListener(type: 'start' | 'change', listener: () => void): void;
  saveState(): void;
  reset(): void;
  update(): boolean;
  rotateLeft(radians: number): void;
  rotateUp(radians: number): void;
  dollyIn(scale: number): void;
  dollyOut(scale: number): void;
  pan(x: number, y: number): void;
  dispose(): void;
}
