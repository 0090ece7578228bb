//! What is kept of an event that was let in: its client's address, its properties, its size. Pure.
//!
//! The operator of the service decides, and a client cannot ask for more to be kept. With nothing to leave out, which
//! is the default, an event passes without being looked at.

mod address;
mod properties;

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::value::RawValue;

use crate::event::Dropped;
use crate::event::EventRow;
use crate::event::Fact;
use crate::event::RawEvent;
use crate::settings::IpPolicy;
use crate::settings::PolicySettings;
use properties::Denied;

/// Levels of arrays and objects that properties may have. ClickHouse's own reader of JSON gives up at 1,024.
const MAX_DEPTH: usize = 128;

/// The property in which clients send an address.
const IP: &str = "$ip";

/// What is kept.
#[derive(Debug)]
pub struct Policy {
    ip: IpPolicy,
    denied: Denied,
    max_event_bytes: usize,
}

impl Policy {
    /// Takes the settings. Unless addresses are kept, the property that holds one is not kept either.
    pub fn new(settings: &PolicySettings) -> Self {
        let hidden = (settings.ip != IpPolicy::Keep).then(|| IP.to_owned());
        Self {
            ip: settings.ip,
            denied: Denied::new(settings.denied_properties.iter().cloned().chain(hidden)),
            max_event_bytes: settings.max_event_bytes,
        }
    }

    /// What is stored of the address of a client.
    pub fn address(&self, address: IpAddr) -> String {
        address::kept(self.ip, address).map(|kept| kept.to_string()).unwrap_or_default()
    }

    /// Why an event is too much for one event, whatever it says. For PostHog's dialect: the seed's has no such limits.
    pub fn excess(&self, event: &RawEvent<'_>) -> Option<Dropped> {
        let beside = [event.set, event.set_once, event.unset].into_iter().flatten().map(RawValue::get);
        let texts = event.properties.iter().map(|properties| properties.text).chain(beside);
        if texts.clone().map(str::len).sum::<usize>() > self.max_event_bytes {
            return Some(Dropped::TooLarge);
        }
        texts.clone().any(|text| is_deep(text.as_bytes())).then_some(Dropped::TooDeep)
    }

    /// Takes out of an event what is not kept.
    pub fn apply(&self, row: &mut EventRow<'_>, facts: &mut Vec<Fact<'_>>) {
        if self.denied.is_empty() {
            return;
        }
        if self.ip != IpPolicy::Keep {
            // The client may have sent another address than its own.
            row.ip = row.ip.parse().map_or(Cow::Borrowed(""), |address| Cow::Owned(self.address(address)));
        }
        if let Some(kept) = self.denied.without(&row.properties) {
            row.properties = Cow::Owned(kept);
        }
        for (column, names) in [
            (&mut row.promoted.session_id, ["$session_id", "session_id"]),
            (&mut row.promoted.window_id, ["$window_id", "window_id"]),
            (&mut row.promoted.elements_chain, ["$elements_chain", "elements_chain"]),
            (&mut row.promoted.current_url, ["$current_url", "current_url"]),
            (&mut row.promoted.host, ["$host", "host"]),
        ] {
            if names.iter().any(|name| self.denied.contains(name)) {
                *column = Cow::Borrowed("");
            }
        }
        facts.retain(|fact| match fact {
            Fact::Set { key, .. } | Fact::SetOnce { key, .. } => !self.denied.contains(key),
            Fact::Person { .. } | Fact::Unset { .. } | Fact::Link { .. } => true,
        });
    }
}

/// Whether a JSON text has more levels than allowed. Nearly every text is cleared by counting its brackets.
fn is_deep(text: &[u8]) -> bool {
    // In pieces whose count fits a byte, so that many bytes are counted at once.
    let count = |piece: &[u8]| piece.iter().map(|byte| u8::from(matches!(byte, b'{' | b'['))).sum::<u8>();
    let brackets: usize = text.chunks(usize::from(u8::MAX)).map(|piece| usize::from(count(piece))).sum();
    brackets > MAX_DEPTH && depth(text) > MAX_DEPTH
}

fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
