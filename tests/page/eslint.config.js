// The page is checked as strictly as the Python: `make check`, or `npm run check` here. These paths are the repository's.

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

import js from '@eslint/js';
import globals from 'globals';
import ts from 'typescript-eslint';

const here = dirname(fileURLToPath(import.meta.url));

export default ts.config(
  { ignores: ['tests/page/static', 'streamd/web/static/three.*'] },
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: { ...js.configs.recommended.rules, eqeqeq: 'error', 'no-var': 'error', 'prefer-const': 'error' },
  },
  {
    files: ['streamd/web/static/*.{js,ts}'],
    extends: [ts.configs.strictTypeChecked],
    languageOptions: {
      globals: globals.browser,
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: here },
    },
    rules: { '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }] },
  },
  { files: ['tests/page/*.js', 'requirements/page/*.js'], languageOptions: { globals: globals.node } },
);
