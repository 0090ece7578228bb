// Visits with posthog-js, each in its own way, and what the SDK says it captured on the way.

/** Runs in the page: starts the SDK as a site does, reports each captured event, and captures `last` as the page goes. */
const start = ({ key, server, beyond, options, last }) => {
  const goes = 'onpagehide' in window ? 'pagehide' : 'unload';
  // Runs before the SDK's own listeners. Any earlier, and the timer of an SDK could take the event by a request that the
  // page takes back as it goes; captured here, it can only leave by the beacon of the page.
  window.addEventListener(goes, () => last && window.posthog.capture(last));
  // The oldest generations tell the name alone, later ones the name and the event.
  const report = (event, { uuid } = {}) => navigator.sendBeacon(`/captured/${key}`, JSON.stringify({ event, uuid }));
  window.posthog.init(key, {
    api_host: server,
    autocapture: true,
    capture_pageview: true,
    capture_pageleave: true,
    // Lets a headless browser through.
    opt_out_useragent_filter: true,
    _onCapture: report,
    before_send: window.choose,
    ...options,
  });
  // Runs after the SDK's own listeners, and goes to another site with a body as theirs do: what makes the browser lose
  // theirs with the page, but for a preflight, makes it lose this one.
  window.addEventListener(goes, () => navigator.sendBeacon(`${beyond}/gone/${key}`, new Blob(['gone'])));
};

const begin = async (page, wanted) => {
  await page.evaluate(start, wanted);
  await page.waitForFunction(() => window.posthog?.__loaded === true);
  // Generations that ask the server whether to capture clicks take a moment until they do.
  await page.waitForTimeout(1500);
};

const open = async (page, url, wanted) => {
  await page.goto(url);
  await begin(page, wanted);
};

/** Waits until the timer of the SDK, which is one of three seconds, has sent what was captured. */
const flushed = (page) => page.waitForTimeout(4000);

/**
 * Leaves as somebody who closes one of two tabs of the site; the browser sends beacons after the page is gone. The last
 * tab takes the process of the site along, half a second after it was told to close at the latest. On a busy machine the
 * process may still hold the bodies of its beacons then, or wait for a preflight, and the browser sends nothing of them.
 */
const leave = async (page) => {
  const other = page.waitForEvent('popup');
  await page.evaluate(() => void window.open('about:blank'));
  await other;
  // On a busy machine the page goes on for a while after it was told to close.
  const gone = page.waitForEvent('close');
  await page.close({ runBeforeUnload: true });
  await gone;
};

const shopAround = (user) => {
  const { posthog } = window;
  for (let step = 0; step < 3; step += 1) posthog.capture('step taken', { step, title: 'Ünïcode ☃ 🎉', big: 2 ** 53 });
  // A cut emoji, as `substring` makes them every day.
  posthog.capture('cut emoji', { text: '🎉'.slice(0, 1) });
  posthog.identify(user, { plan: 'team' }, { first_seen: 'shop' });
  posthog.alias(`${user}-alias`, user);
  posthog.group?.('company', 'acme', { size: 12 });
};

const changePlan = () => {
  const { posthog } = window;
  if (posthog.setPersonProperties) posthog.setPersonProperties({ plan: 'enterprise' });
  else posthog.people.set({ plan: 'enterprise' });
};

/** Look, click, identify, go to another page, leave. */
const shop = async (page, { package: name, site, user, ...wanted }) => {
  await open(page, `${site}/shop/${name}`, { ...wanted, last: 'leaving' });
  await page.click('#buy');
  await page.evaluate(shopAround, user);
  // The oldest generations give properties no time of their own: what arrives last is the last.
  await flushed(page);
  await page.evaluate(changePlan);
  await flushed(page);
  await page.evaluate((next) => {
    window.location.href = next;
  }, `${site}/checkout/${name}`);
  await page.waitForURL('**/checkout/**');
  await begin(page, { ...wanted, last: 'paid' });
  await flushed(page);
  await leave(page);
};

/** What a site may choose: views by history, events changed and dropped, denied properties, consent; then a quiet page. */
const choices = async (page, { package: name, site, ...wanted }) => {
  await page.addInitScript(() => {
    window.choose = (event) => {
      if (event.event === 'dropped') return null;
      if (event.event === 'changed') event.properties.changed = true;
      return event;
    };
  });
  const options = { capture_pageview: 'history_change', property_denylist: ['secret'], capture_pageleave: undefined };
  await open(page, `${site}/shop/${name}`, { ...wanted, options });
  await page.evaluate(() => {
    const { posthog } = window;
    history.pushState({}, '', '/shop/other');
    posthog.capture('changed', { secret: 'hidden', shown: 1 });
    posthog.capture('dropped');
    posthog.opt_out_capturing();
    posthog.capture('without consent');
    posthog.opt_in_capturing({ captureEventName: false });
    posthog.capture('with consent');
  });
  await page.waitForTimeout(1000);
  await open(page, `${site}/checkout/${name}`, {
    ...wanted,
    options: { capture_pageview: false, capture_pageleave: 'if_capture_pageview' },
    last: 'quiet',
  });
  await leave(page);
};

/** The hook of the React package, an element that is seen, and two children that are seen. */
const react = async (page, { package: name, site, ...wanted }) => {
  await open(page, `${site}/react/${name}`, { ...wanted, options: { capture_pageview: false, capture_pageleave: false } });
  await page.evaluate(async (name) => {
    const { React, ReactDOM, posthog } = window;
    const { PostHogProvider, PostHogCaptureOnViewed, usePostHog } = await import(`/modules/${name}/react/dist/esm/index.js`);
    const { createElement: element } = React;
    const Hooked = () => {
      const client = usePostHog();
      React.useEffect(() => void client.capture('hooked'), [client]);
      return element('p', {}, 'hooked');
    };
    const items = ['one', 'two'].map((text) => element('li', { key: text }, text));
    const seen = element(PostHogCaptureOnViewed, { name: 'hero', key: 'hero' }, element('p', {}, 'hero'));
    const each = element(PostHogCaptureOnViewed, { name: 'list', key: 'list', trackAllChildren: true }, items);
    ReactDOM.createRoot(document.querySelector('#root')).render(
      element(PostHogProvider, { client: posthog }, element(Hooked, { key: 'hooked' }), seen, each),
    );
  }, name);
  await flushed(page);
  await leave(page);
};

const kinds = { shop, choices, react };

/** How many pages start the SDK in a visit of each kind. */
export const pages = { shop: 2, choices: 2, react: 1 };

/** Makes one visit of the wanted kind. */
export const visit = async (context, { kind, ...wanted }) => kinds[kind](await context.newPage(), wanted);
