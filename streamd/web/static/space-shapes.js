// What a scene is made of.

import { COVER, MESH, MESH_COLOUR, POINTS, POINT_COLOUR } from './space-shaders.js';
import * as THREE from './three.module.min.js';

/** @typedef {Record<string, THREE.Uniform>} Uniforms */

/**
 * A picture that covers what is rendered to.
 * @param {string} fragmentShader
 * @param {Uniforms} uniforms
 */
export function cover(fragmentShader, uniforms) {
  const triangle = new THREE.BufferGeometry();
  triangle.setAttribute('position', new THREE.BufferAttribute(new Float32Array([-1, -1, 0, 3, -1, 0, -1, 3, 0]), 3));
  const material = new THREE.ShaderMaterial({ glslVersion: THREE.GLSL3, vertexShader: COVER, fragmentShader, uniforms, depthTest: false });
  const mesh = new THREE.Mesh(triangle, material);
  mesh.frustumCulled = false;
  return mesh;
}

/**
 * A picture as a mesh and as points: [mesh, points], of one grid.
 * @param {{places: Float32Array, triangles: Uint32Array}} grid
 * @param {Uniforms} uniforms
 */
export function shapesOf({ places, triangles }, uniforms) {
  const options = { glslVersion: THREE.GLSL3, uniforms, side: THREE.DoubleSide };
  const [mesh, points] = [new THREE.BufferGeometry(), new THREE.BufferGeometry()];
  for (const geometry of [mesh, points]) geometry.setAttribute('position', new THREE.BufferAttribute(places, 3));
  mesh.setIndex(new THREE.BufferAttribute(triangles, 1));
  const shapes = [
    new THREE.Mesh(mesh, new THREE.ShaderMaterial({ ...options, vertexShader: MESH, fragmentShader: MESH_COLOUR })),
    new THREE.Points(points, new THREE.ShaderMaterial({ ...options, vertexShader: POINTS, fragmentShader: POINT_COLOUR })),
  ];
  for (const shape of shapes) shape.frustumCulled = false; // only the graphics card knows where it is
  return shapes;
}

/** @param {THREE.Mesh[]} shapes */
export function dispose(shapes) {
  for (const { geometry, material } of shapes) {
    geometry.dispose();
    material.dispose();
  }
}
