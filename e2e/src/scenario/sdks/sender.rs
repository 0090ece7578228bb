//! The SDKs that send, each with a key of its own, by which its rows are told from others.

use std::fmt;

/// One SDK and how it is used.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// Name of the package, with its version unless it is the current one.
    pub(super) package: &'static str,
    pub(super) kind: Kind,
    number: usize,
}

/// How an SDK is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// posthog-js: look, click, identify, alias, group, leave.
    Shop,
    /// posthog-js: views by history, events changed and dropped, denied properties, consent.
    Choices,
    /// posthog-js with React.
    React,
    /// posthog-node; with compression, when the generation has it.
    Node,
    /// posthog (Python), with compression or without.
    Python { gzip: bool },
}

/// The generations of `posthog-wire.md` 1.2 that changed how events travel.
const SENDERS: [(&str, Kind); 17] = [
    ("posthog-js", Kind::Shop),
    ("posthog-js-1.10.2", Kind::Shop),
    ("posthog-js-1.57.4", Kind::Shop),
    ("posthog-js-1.128.3", Kind::Shop),
    ("posthog-js-1.200.0", Kind::Shop),
    ("posthog-js-1.300.0", Kind::Shop),
    ("posthog-js-1.372.0", Kind::Shop),
    ("posthog-js-1.400.0", Kind::Shop),
    ("posthog-js", Kind::Choices),
    ("posthog-js", Kind::React),
    ("posthog-node", Kind::Node),
    ("posthog-node-5.10.0", Kind::Node),
    ("posthog-node-2.6.0", Kind::Node),
    ("posthog-7.91.1", Kind::Python { gzip: false }),
    ("posthog-7.91.1", Kind::Python { gzip: true }),
    ("posthog-3.7.5", Kind::Python { gzip: true }),
    ("posthog-2.5.0", Kind::Python { gzip: false }),
];

/// Every SDK, as often as wanted.
pub(super) fn all(rounds: usize) -> Vec<Sender> {
    let repeated = (0..rounds).flat_map(|_| SENDERS);
    repeated.enumerate().map(|(number, (package, kind))| Sender { package, kind, number }).collect()
}

impl Sender {
    /// Its key, and the one for another visit when the browser killed a page of the first.
    pub(super) fn keys(&self) -> [String; 2] {
        ["", "_again"].map(|which| format!("phc_story{:03}{which}", self.number))
    }

    pub(super) fn is_browser(&self) -> bool {
        self.visit().is_some()
    }

    /// The visit of a browser, as `browser.mjs` names it.
    pub(super) fn visit(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Shop => Some("shop"),
            Kind::Choices => Some("choices"),
            Kind::React => Some("react"),
            Kind::Node | Kind::Python { .. } => None,
        }
    }

    /// The person that it identifies.
    pub(super) fn user(&self) -> String {
        // Without the key in it, which is looked for in the rows.
        format!("user-{}", self.number)
    }

    /// Whether its events carry an id.
    pub(super) fn has_uuids(&self) -> bool {
        !matches!(
            self.package,
            "posthog-js-1.10.2"
                | "posthog-js-1.57.4"
                | "posthog-node-2.6.0"
                | "posthog-3.7.5"
                | "posthog-2.5.0"
        )
    }

    /// Whether `people.set` of this generation is no event but a request to `/engage/`.
    pub(super) fn engages(&self) -> bool {
        matches!(self.package, "posthog-js-1.10.2" | "posthog-js-1.57.4")
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({:?})", self.package, self.kind)
    }
}
