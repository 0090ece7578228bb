//! An array of events of either dialect, of which only so many are kept.

use std::fmt;
use std::marker::PhantomData;

use serde::de::Deserialize;
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::SeqAccess;
use serde::de::Visitor;

/// Events of a large batch of an SDK.
const USUAL: usize = 64;

/// Reads an array of `E`, keeps at most so many of them as `T`, and counts the others.
pub(crate) struct Events<E, T> {
    max_events: usize,
    element: PhantomData<(E, T)>,
}

impl<E, T> Events<E, T> {
    pub(crate) fn new(max_events: usize) -> Self {
        Self { max_events, element: PhantomData }
    }
}

impl<'de, E: Deserialize<'de> + Into<T>, T> DeserializeSeed<'de> for Events<E, T> {
    type Value = (Vec<T>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, E: Deserialize<'de> + Into<T>, T> Visitor<'de> for Events<E, T> {
    type Value = (Vec<T>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::with_capacity(self.max_events.min(USUAL));
        while events.len() < self.max_events {
            let Some(event) = seq.next_element::<E>()? else { return Ok((events, 0)) };
            events.push(event.into());
        }
        // An event takes three bytes of body and far more of memory, so those beyond the limit are only counted.
        let mut excess = 0;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            excess += 1;
        }
        Ok((events, excess))
    }
}
