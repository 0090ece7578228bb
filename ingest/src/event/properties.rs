//! The properties of an event: their text, and the members of it that mean something to the service.

use serde_json::value::RawValue;

/// Properties as they were sent, looked at once.
#[derive(Debug, Default)]
pub struct Properties<'a> {
    /// The JSON object, as it was written.
    pub text: &'a str,
    /// Members that mean something: each once, with the last of its values, but every one that can hold a key, in the
    /// order of the text.
    pub known: Vec<(Known, &'a RawValue)>,
    /// Whether more members than [`MAX_KEYS`] can hold a key. Those beyond are not in the list.
    pub has_surplus_keys: bool,
}

/// Members of one object that can hold a key. A client writes one; without a bound, each takes more memory than body, and
/// they make the search for every other member longer.
const MAX_KEYS: usize = 8;

/// A property that means something to the service. Many have an older name without the dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the property of that name")]
pub enum Known {
    DistinctId,
    DollarDistinctId,
    SessionId,
    DollarSessionId,
    WindowId,
    DollarWindowId,
    ElementsChain,
    DollarElementsChain,
    CurrentUrl,
    DollarCurrentUrl,
    Host,
    DollarHost,
    Set,
    SetOnce,
    Unset,
    AnonDistinctId,
    DollarAnonDistinctId,
    Alias,
    ProcessPersonProfile,
    IgnoreSentAt,
    Ip,
    Token,
    ApiKey,
}

impl Known {
    /// How many there are.
    pub const COUNT: usize = Self::ApiKey as usize + 1;

    /// The property of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "distinct_id" => Self::DistinctId,
            "$distinct_id" => Self::DollarDistinctId,
            "session_id" => Self::SessionId,
            "$session_id" => Self::DollarSessionId,
            "window_id" => Self::WindowId,
            "$window_id" => Self::DollarWindowId,
            "elements_chain" => Self::ElementsChain,
            "$elements_chain" => Self::DollarElementsChain,
            "current_url" => Self::CurrentUrl,
            "$current_url" => Self::DollarCurrentUrl,
            "host" => Self::Host,
            "$host" => Self::DollarHost,
            "$set" => Self::Set,
            "$set_once" => Self::SetOnce,
            "$unset" => Self::Unset,
            "anon_distinct_id" => Self::AnonDistinctId,
            "$anon_distinct_id" => Self::DollarAnonDistinctId,
            "alias" => Self::Alias,
            "$process_person_profile" => Self::ProcessPersonProfile,
            "$ignore_sent_at" => Self::IgnoreSentAt,
            "$ip" => Self::Ip,
            "token" => Self::Token,
            "api_key" => Self::ApiKey,
            _ => return None,
        })
    }

    /// Whether a key may stand there, which is then not stored.
    pub fn may_hold_key(self) -> bool {
        matches!(self, Self::Token | Self::ApiKey)
    }
}

impl<'a> Properties<'a> {
    /// Adds a member in the order of the text.
    pub fn put(&mut self, name: Known, value: &'a RawValue) {
        if name.may_hold_key() && self.keys().count() == MAX_KEYS {
            self.has_surplus_keys = true;
            return;
        }
        let earlier = self.known.iter_mut().find(|(known, _)| *known == name && !name.may_hold_key());
        match earlier {
            Some((_, place)) => *place = value,
            None => self.known.push((name, value)),
        }
    }

    /// The values of all places where keys are sent, in the order of the text.
    pub fn keys(&self) -> impl Iterator<Item = &'a RawValue> {
        self.known.iter().filter(|(name, _)| name.may_hold_key()).map(|(_, value)| *value)
    }

    /// The last value of `token`, where posthog-js puts the key.
    pub fn token(&self) -> Option<&'a RawValue> {
        self.known.iter().rev().find(|(name, _)| *name == Known::Token).map(|(_, value)| *value)
    }
}
