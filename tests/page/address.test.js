import assert from 'node:assert/strict';
import { test } from 'node:test';

import { VIEWS, pageAddress, embeddedName, parseAddress } from './static/address.js';

test('an address of one stream names its view', () => {
  const shown = parseAddress('#stream=porch&view=gray');
  assert.deepEqual(shown, { layout: 'one', stream: 'porch', views: new Map([['porch', 'gray']]) });
  assert.equal(pageAddress(shown), '#stream=porch&view=gray');
});

test('an address of all names the views that are not the usual one', () => {
  const shown = parseAddress('#layout=grid&view.porch=overlay&view.yard=depth');
  assert.deepEqual(shown.views, new Map([['porch', 'overlay'], ['yard', 'depth']]));
  assert.equal(pageAddress(shown), '#layout=grid&view.porch=overlay');
});

test('a name may have any characters', () => {
  const shown = { layout: 'one', stream: 'a&b=c #d', views: new Map() };
  assert.equal(parseAddress(pageAddress(shown)).stream, 'a&b=c #d');
});

for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty', 'Depth', '']) {
  test(`${name || 'nothing'} is no view`, () => {
    assert.equal(parseAddress(`#stream=porch&view=${name}`).views.size, 0);
    assert.equal(parseAddress(`#layout=grid&view.porch=${name}`).views.size, 0);
  });
}

test('an embedded stream has any name, and a bad encoding kills no page', () => {
  assert.equal(embeddedName('/below/embed/back%20yard/'), 'back yard');
  assert.equal(embeddedName('/embed/%E0%A4%A'), '%E0%A4%A');
  assert.equal(embeddedName('/'), '');
});

test('without any address nothing is chosen', () => {
  assert.deepEqual(parseAddress(''), { layout: null, stream: null, views: new Map() });
  assert.ok(Object.keys(VIEWS).length > 3);
});
