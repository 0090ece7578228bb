// Sends events with one generation of posthog-node, as a server does, and prints what it sent and what went wrong.
// Argument: {"package", "server", "key", "user", "count", "options"}.
const { package: name, server, key, user, count, options } = JSON.parse(process.argv[2]);
const module = await import(name);
const PostHog = module.PostHog ?? module.default.PostHog ?? module.default;

const complaints = [];
for (const level of ['error', 'warn']) console[level] = (...parts) => complaints.push(parts.map(String).join(' '));
const client = new PostHog(key, { host: server, flushAt: 20, flushInterval: 200, ...options });
client.on?.('error', (error) => complaints.push(String(error)));

for (let step = 0; step < count; step += 1) {
  client.capture({
    distinctId: user,
    event: 'step taken',
    properties: { step, title: 'Ünïcode ☃ 🎉', big: 2 ** 53, nothing: null, $current_url: 'https://shop.example.com/' },
    groups: { company: 'acme' },
  });
  // Generation 5.10 keeps 1,000 events at most and drops the oldest beyond that.
  if (step % 250 === 249) await (client.flushAsync ?? client.flush).call(client);
}
// A cut emoji, as `substring` makes them every day.
client.capture({ distinctId: user, event: 'cut emoji', properties: { text: '🎉'.slice(0, 1) } });
client.identify({ distinctId: user, properties: { plan: 'enterprise' } });
client.alias({ distinctId: user, alias: `${user}-alias` });
client.groupIdentify({ groupType: 'company', groupKey: 'acme', properties: { size: 12 } });
await (client.shutdownAsync ?? client.shutdown).call(client);

const captured = { 'step taken': count, 'cut emoji': 1, $identify: 1, $create_alias: 1, $groupidentify: 1 };
process.stdout.write(`${JSON.stringify({ captured, complaints })}\n`);
