// What the graphics card does (GLSL ES 3.00): smooths the gray half of an RGB-D picture, puts a point or a mesh where
// geometry.js says, in the colours of the left half, and mixes two eyes for red and cyan glasses.

import { FARTHEST, NEAREST } from './geometry.js';

export const COVER = `
  out vec2 place;
  void main() {
    place = position.xy * 0.5 + 0.5;
    gl_Position = vec4(position.xy, 0.0, 1.0);
  }`;

/** Eight bits through H.264 are noisy: a mean of 3 x 3 that leaves edges alone. Finer than its steps, hence a float. */
export const SMOOTH = `
  uniform sampler2D picture;
  uniform vec2 cell;
  in vec2 place;
  out vec4 smoothed;
  const float EDGE = 0.04;
  float gray(vec2 at) {
    float margin = 1.5 / float(textureSize(picture, 0).x); // no colour of the left half
    return texture(picture, vec2(0.5 + max(0.5 * at.x, margin), at.y)).g;
  }
  void main() {
    float middle = gray(place);
    float sum = 0.0;
    float weights = 0.0;
    for (int y = -1; y <= 1; y++) {
      for (int x = -1; x <= 1; x++) {
        float near = gray(place + vec2(x, y) * cell);
        float apart = (near - middle) / EDGE;
        float weight = exp(-apart * apart);
        sum += weight * near;
        weights += weight;
      }
    }
    smoothed = vec4(vec3(sum / weights), 1.0);
  }`;

const SPACE = `
  uniform sampler2D depth;
  uniform vec2 cell;
  uniform vec2 tangents;
  uniform float logStrength;
  out vec2 place;
  out float gray;
  out vec3 at;
  vec3 unproject(vec2 place, float gray) {
    float share = logStrength > 0.0 ? (pow(1.0 + logStrength, gray) - 1.0) / logStrength : gray;
    float far = 1.0 / (1.0 / float(${FARTHEST}) + share * (1.0 / float(${NEAREST}) - 1.0 / float(${FARTHEST})));
    return vec3((2.0 * place - 1.0) * tangents, -1.0) * far;
  }
  void put() {
    place = position.xy;
    gray = texture(depth, place).g;
    at = unproject(place, gray);
    gl_Position = projectionMatrix * modelViewMatrix * vec4(at, 1.0);
  }`;

/** A surface seen at less than this (sine) by the camera is no surface, but the edge of what is before another. */
const STRETCHED = `
  const float STRETCHED = 0.03;
  bool stretched(vec3 toSide, vec3 up, vec3 at) {
    vec3 normal = cross(toSide, up);
    return abs(dot(normal, at)) < STRETCHED * length(normal) * length(at);
  }`;

export const MESH = `${SPACE}
  void main() { put(); }`;

export const POINTS = `${SPACE}${STRETCHED}
  uniform float size; // 1: neighbours touch, seen from the camera's place
  uniform float height_px;
  void main() {
    put();
    vec2 next = place + cell;
    vec3 toSide = unproject(vec2(next.x, place.y), texture(depth, vec2(next.x, place.y)).g) - at;
    vec3 up = unproject(vec2(place.x, next.y), texture(depth, vec2(place.x, next.y)).g) - at;
    if (stretched(toSide, up, at)) gl_Position = vec4(2.0, 2.0, 2.0, 1.0); // outside
    float width = 2.0 * tangents.x * cell.x * -at.z;
    gl_PointSize = max(1.0, size * width * projectionMatrix[1][1] * 0.5 * height_px / gl_Position.w);
  }`;

const COLOUR = `
  uniform sampler2D picture;
  uniform float clip;
  in vec2 place;
  in float gray;
  in vec3 at;
  out vec4 colour;
  void paint() {
    if (gray < clip) discard;
    float margin = 1.5 / float(textureSize(picture, 0).x); // no gray of the right half
    colour = vec4(texture(picture, vec2(min(0.5 * place.x, 0.5 - margin), place.y)).rgb, 1.0);
  }`;

export const MESH_COLOUR = `${COLOUR}${STRETCHED}
  void main() {
    if (stretched(dFdx(at), dFdy(at), at)) discard;
    paint();
  }`;

export const POINT_COLOUR = `${COLOUR}
  void main() { paint(); }`;

/** Half-colour anaglyph: the left eye's brightness is red. Full colours would make the eyes fight. */
export const ANAGLYPH = `
  uniform sampler2D left;
  uniform sampler2D right;
  in vec2 place;
  out vec4 colour;
  void main() {
    float red = dot(texture(left, place).rgb, vec3(0.299, 0.587, 0.114));
    colour = vec4(red, texture(right, place).gb, 1.0);
  }`;
