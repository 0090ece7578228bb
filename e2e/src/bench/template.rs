//! Bodies as SDKs send them, rendered once, with holes for what differs between two events.
//!
//! The shapes are those of posthog-js (page views, clicks, an identify) and posthog-node, about 600 bytes an event.

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

/// What differs from event to event; every kind has one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The id of the event.
    Uuid,
    /// The time of the event.
    Time,
    /// Who did it.
    DistinctId,
    /// Who it was before an identify.
    AnonymousId,
    /// The session of that person.
    Session,
    /// The window of that session.
    Window,
}

/// A place in a body that is written anew for each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) kind: Kind,
    /// Index of the event in its body.
    pub(super) event: usize,
    pub(super) offset: usize,
}

/// One body with its holes.
#[derive(Clone, Debug, Default)]
pub(super) struct Template {
    pub(super) bytes: Vec<u8>,
    pub(super) holes: Vec<Hole>,
    pub(super) events: usize,
}

const MARKS: [(&str, Kind); 6] = [
    ("@uuid@", Kind::Uuid),
    ("@time@", Kind::Time),
    ("@id@", Kind::DistinctId),
    ("@anonymous@", Kind::AnonymousId),
    ("@session@", Kind::Session),
    ("@window@", Kind::Window),
];

const PAGES: [&str; 6] = ["/", "/products", "/products/shoes", "/cart", "/checkout", "/account/orders"];
const NAMES: [&str; 5] = ["product viewed", "added to cart", "signup clicked", "search used", "video played"];
const JOBS: [&str; 4] = ["invoice paid", "order shipped", "email sent", "subscription renewed"];
const BROWSERS: [&str; 3] = ["Chrome", "Safari", "Firefox"];

impl Kind {
    /// Bytes that it takes.
    pub(super) fn length(self) -> usize {
        if self == Self::Time { 24 } else { 36 }
    }
}

impl Template {
    /// Renders one body of `events` events: half of all bodies as a browser sends them, half as a server does.
    pub(super) fn random(random: &mut StdRng, key: &str, events: usize) -> Self {
        let mut template = Self { events, ..Self::default() };
        let is_browser: bool = random.random();
        template.push(&format!(r#"{{"api_key":"{key}","batch":["#), 0);
        for event in 0..events {
            if event > 0 {
                template.push(",", event);
            }
            let text = match (is_browser, event) {
                // One event of a body says who the visitor is, as after a login.
                (true, 25) => identify(key),
                (true, _) if random.random_ratio(1, 2) => page_view(random, key),
                (true, _) => click(random, key),
                (false, _) => server_side(random),
            };
            template.push(&text, event);
        }
        template.push(r#"],"sent_at":"@time@"}"#, 0);
        template
    }

    /// Appends text whose marks become holes.
    fn push(&mut self, mut text: &str, event: usize) {
        while let Some((at, mark, kind)) = first_mark(text) {
            self.bytes.extend_from_slice(&text.as_bytes()[..at]);
            self.holes.push(Hole { kind, event, offset: self.bytes.len() });
            self.bytes.resize(self.bytes.len() + kind.length(), b'0');
            text = &text[at + mark.len()..];
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

fn first_mark(text: &str) -> Option<(usize, &'static str, Kind)> {
    let found = MARKS.iter().filter_map(|(mark, kind)| text.find(mark).map(|at| (at, *mark, *kind)));
    found.min_by_key(|(at, _, _)| *at)
}

fn pick(random: &mut StdRng, choices: &[&'static str]) -> &'static str {
    choices.choose(random).copied().unwrap_or_default()
}

fn page_view(random: &mut StdRng, key: &str) -> String {
    let (page, browser, item) =
        (pick(random, &PAGES), pick(random, &BROWSERS), random.random_range(1000..9999));
    format!(
        concat!(
            r#"{{"uuid":"@uuid@","event":"$pageview","properties":{{"token":"{key}","distinct_id":"@id@","#,
            r#""$device_id":"@id@","$session_id":"@session@","$window_id":"@window@","$lib":"web","#,
            r#""$lib_version":"1.449.2","$current_url":"https://shop.example.com{page}?item={item}","#,
            r#""$host":"shop.example.com","$pathname":"{page}","$browser":"{browser}","$browser_version":156,"#,
            r#""$os":"Mac OS X","$device_type":"Desktop","$screen_width":1920,"#,
            r#""$referrer":"$direct","$process_person_profile":false,"title":"Item {item} – shop"}},"#,
            r#""timestamp":"@time@"}}"#
        ),
        key = key,
        page = page,
        item = item,
        browser = browser
    )
}

fn click(random: &mut StdRng, key: &str) -> String {
    let (page, name, price) = (pick(random, &PAGES), pick(random, &NAMES), random.random_range(100..99_999));
    format!(
        concat!(
            r#"{{"uuid":"@uuid@","event":"{name}","properties":{{"token":"{key}","distinct_id":"@id@","#,
            r#""$device_id":"@id@","$session_id":"@session@","$window_id":"@window@","$lib":"web","#,
            r#""$lib_version":"1.449.2","$current_url":"https://shop.example.com{page}","#,
            r#""$host":"shop.example.com","$pathname":"{page}","$is_identified":false,"price":{price},"#,
            r#""currency":"EUR","plan":"team","tags":["sale","new"],"label":"Zoë said \"go\""}},"#,
            r#""timestamp":"@time@"}}"#
        ),
        key = key,
        page = page,
        name = name,
        price = price
    )
}

fn identify(key: &str) -> String {
    format!(
        concat!(
            r#"{{"uuid":"@uuid@","event":"$identify","properties":{{"token":"{key}","distinct_id":"@id@","#,
            r#""$anon_distinct_id":"@anonymous@","$device_id":"@anonymous@","$session_id":"@session@","#,
            r#""$window_id":"@window@","$lib":"web","$lib_version":"1.449.2","#,
            r#""$current_url":"https://shop.example.com/login","$host":"shop.example.com","#,
            r#""$set":{{"plan":"team","country":"DE"}},"$set_once":{{"first_campaign":"spring"}}}},"#,
            r#""timestamp":"@time@"}}"#
        ),
        key = key
    )
}

fn server_side(random: &mut StdRng) -> String {
    let (name, order, amount) =
        (pick(random, &JOBS), random.random_range(100_000..999_999), random.random_range(1..5000));
    format!(
        concat!(
            r#"{{"distinct_id":"@id@","event":"{name}","properties":{{"$lib":"posthog-node","#,
            r#""$lib_version":"5.70.0","$geoip_disable":true,"$is_server":true,"$session_id":"@session@","#,
            r#""order_id":"order-{order}","amount":{amount},"currency":"EUR","items":[{{"sku":"s-{order}","#,
            r#""count":2,"price":19.99}}],"shipping":{{"method":"express","country":"DE","zip":"10115"}},"#,
            r#""source":"worker","queue_ms":{amount},"is_retry":false}},"#,
            r#""type":"capture","library":"posthog-node","library_version":"5.70.0","#,
            r#""timestamp":"@time@","uuid":"@uuid@"}}"#
        ),
        name = name,
        order = order,
        amount = amount
    )
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn bodies_are_json_of_about_600_bytes_an_event() {
        let mut random = StdRng::seed_from_u64(1);
        let mut bytes = 0;
        for _ in 0..40 {
            let template = Template::random(&mut random, "key", 50);
            let body: serde_json::Value = serde_json::from_slice(&template.bytes).unwrap();
            assert_eq!(body["batch"].as_array().unwrap().len(), 50);
            bytes += template.bytes.len();
        }
        let per_event = bytes / (40 * 50);
        assert!((550..650).contains(&per_event), "{per_event}");
    }

    #[test]
    fn every_event_has_a_hole_for_its_id_and_one_for_its_person() {
        let template = Template::random(&mut StdRng::seed_from_u64(2), "key", 50);
        for event in 0..50 {
            let has = |kind| template.holes.iter().any(|hole| hole.event == event && hole.kind == kind);
            assert!(has(Kind::Uuid) && has(Kind::DistinctId) && has(Kind::Time));
        }
    }
}
