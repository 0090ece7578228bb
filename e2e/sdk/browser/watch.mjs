// What a browser has to complain of, of the server under test and of the pages.

/** Watches every page of a context, whose SDK sends with this key; `server` is the origin under test. */
export const watch = (context, server, key) => {
  const seen = { key, complaints: [] };
  const complain = (text) => seen.complaints.push(text);
  context.on('console', (message) => {
    if (message.type() === 'error') complain(`console: ${message.text()} ${message.location().url}`);
  });
  context.on('weberror', (failure) => complain(`page: ${failure.error().message}`));
  context.on('request', (request) => {
    if (!request.url().startsWith(server)) return;
    if (request.url().includes('retry_count')) complain(`retried: ${request.url()}`);
  });
  context.on('response', (response) => {
    if (!response.url().startsWith(server)) return;
    // A beacon of the older generations asks for an empty answer.
    const empty = response.status() === 204 && response.url().includes('beacon=1');
    if (response.status() !== 200 && !empty) complain(`answered ${response.status()}: ${response.url()}`);
  });
  context.on('requestfailed', (request) => {
    const error = request.failure()?.errorText;
    // A page that leaves takes its requests back; what it wanted to say goes by beacon.
    if (error !== 'net::ERR_ABORTED') complain(`failed with ${error}: ${request.url()}`);
  });
  return seen;
};
