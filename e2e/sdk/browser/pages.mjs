// The site that the browsers visit: pages with a button, and each generation of posthog-js as its package ships it.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const html = (head, body) => `<!doctype html><html><head><meta charset="utf-8"><title>Shop</title>
<link rel="icon" href="data:,">${head}</head><body>${body}</body></html>`;

// As the npm package ships it; what it loads lazily it asks of the server under test.
const sdk = (generation) => `<script src="/modules/${generation}/dist/array.js"></script>`;

const shop = (generation) =>
  html(
    sdk(generation),
    `<h1>Shop</h1><button id="buy">Buy now</button><a id="next" href="/checkout/${generation}">Checkout</a>`,
  );

const react = (generation) =>
  html(
    `${sdk(generation)}<script src="/modules/react/umd/react.production.min.js"></script>
<script src="/modules/react-dom/umd/react-dom.production.min.js"></script>
<script type="importmap">{"imports":{"react":"/react.mjs","posthog-js":"/posthog.mjs"}}</script>`,
    '<div id="root"></div>',
  );

// The package of React components is a module, and both of its imports are globals here.
const globals = {
  '/react.mjs': `const { React } = window; export default React; export const {
    Children, Component, createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore,
  } = React;`,
  '/posthog.mjs': 'export default window.posthog;',
};

const types = { js: 'text/javascript', mjs: 'text/javascript', html: 'text/html' };

const read = async (request) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
};

/**
 * Serves the pages on loopback, from the folder that holds `node_modules`; resolves to the origin, and to the same beyond
 * the site. Pages tell what the SDK captured by beacons to `/captured/KEY`, the only way that works while a page goes, and
 * at last to `/gone/KEY`, beyond the site, that they went.
 */
export const servePages = async (folder, port) => {
  const [captured, gone] = [{}, {}];
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://site');
    const [, first, ...rest] = pathname.split('/');
    const answer = (type, body) => response.writeHead(200, { 'content-type': type }).end(body);
    if (first === 'captured') {
      (captured[rest[0]] ??= []).push(await read(request));
      return response.writeHead(204).end();
    }
    if (first === 'gone') {
      gone[rest[0]] = (gone[rest[0]] ?? 0) + 1;
      return response.writeHead(204).end();
    }
    if (globals[pathname]) return answer(types.mjs, globals[pathname]);
    if (first === 'shop' || first === 'checkout') return answer(types.html, shop(rest.join('/')));
    if (first === 'react') return answer(types.html, react(rest.join('/')));
    if (first !== 'modules' || pathname.includes('..')) return response.writeHead(404).end();
    try {
      answer(types.js, await readFile(join(folder, 'node_modules', ...rest)));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  // By name, so that pages and the server under test, which is an address, are of two sites.
  const [origin, beyond] = ['localhost', '127.0.0.1'].map((host) => `http://${host}:${port}`);
  return { origin, beyond, captured, gone, close: () => server.close() };
};
