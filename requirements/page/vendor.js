// Copies what the page has from others out of node_modules, where `npm ci` has put what package-lock.json names, and notes
// the digests of the copies. 0.185 is the last three.js with minified modules.

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const STATIC = new URL('../../streamd/web/static/', import.meta.url);
const THREE = new URL('node_modules/three/', import.meta.url);
const FILES = {
  'three.core.min.js': 'build/three.core.min.js',
  'three.module.min.js': 'build/three.module.min.js',
  'three.orbit-controls.js': 'examples/jsm/controls/OrbitControls.js',
  'three.licence.txt': 'LICENSE',
};

const digests = Object.entries(FILES).map(([name, path]) => {
  // Browsers know no bare "three", and the page's policy permits no import map.
  const text = readFileSync(new URL(path, THREE), 'utf8').replace("from 'three'", "from './three.module.min.js'");
  writeFileSync(new URL(name, STATIC), text);
  return `${createHash('sha256').update(text).digest('hex')}  ${name}\n`;
});
writeFileSync(new URL('vendored.sha256', import.meta.url), digests.join(''));
