// Sends events with the real posthog-node and prints, as one JSON line, how many it sent and what went wrong.
// Arguments: host, API key, event name, number of events.
import { PostHog } from 'posthog-node';

const [host, key, event, count] = process.argv.slice(2);
const errors = [];
const client = new PostHog(key, { host, flushAt: 20, flushInterval: 200, fetchRetryCount: 3, fetchRetryDelay: 500 });
client.on('error', (error) => errors.push(String(error)));

const people = 5;
for (let index = 0; index < Number(count); index += 1) {
  client.capture({
    distinctId: `customer-${index % people}`,
    event,
    properties: { $current_url: 'https://shop.example.com/checkout', amount: index, currency: 'EUR' },
  });
  // The SDK keeps 10,000 events at most and drops the oldest beyond that.
  if (index % 1000 === 999) await client.flush();
}
client.identify({ distinctId: 'customer-0', properties: { plan: 'team' } });
await client.shutdown(30_000);

process.stdout.write(`${JSON.stringify({ sent: Number(count), errors })}\n`);
process.exit(errors.length === 0 ? 0 : 1);
