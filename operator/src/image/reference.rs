//! Image references: `[registry/]repository[:tag][@digest]`. Pure.

/// A parsed image reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Registry and repository as written, for pods.
    pub(super) written: String,
    /// Host and port of the registry.
    pub(super) registry: String,
    /// Repository in the registry.
    pub(super) repository: String,
    /// What of the repository.
    pub(super) target: Target,
}

/// What of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Whatever has this tag now.
    Tag(String),
    /// Exactly this.
    Digest(String),
}

/// Docker Hub under the name that references use.
pub(super) const DOCKER_HUB: &str = "docker.io";

impl Reference {
    /// Parses a reference; `None` when it is none. A reference with tag and digest means the digest.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(is_digest(digest).then_some(digest)?)),
            None => (text, None),
        };
        let (written, tag) = match name.rsplit_once(':') {
            Some((written, tag)) if !tag.contains('/') => (written, Some(is_tag(tag).then_some(tag)?)),
            _ => (name, None),
        };
        let (registry, repository) = match written.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
            Some(_) => (DOCKER_HUB, written.to_owned()),
            None => (DOCKER_HUB, format!("library/{written}")),
        };
        let valid = repository.split('/').all(is_component) && is_authority(registry) && written.len() <= 255;
        let target = match digest {
            Some(digest) => Target::Digest(digest.to_owned()),
            None => Target::Tag(tag.unwrap_or("latest").to_owned()),
        };
        valid.then(|| Self { written: written.to_owned(), registry: registry.to_owned(), repository, target })
    }
}

// As Docker reads it: the first part is a registry when it cannot be a folder of Docker Hub.
fn is_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

fn is_authority(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_valid = match in_brackets {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
        }
    };
    host_is_valid && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_component(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = part.bytes().next().zip(part.bytes().last());
    ends.is_some_and(|(first, last)| alphanumeric(first) && alphanumeric(last))
        && part.bytes().all(|byte| alphanumeric(byte) || b"._-".contains(&byte))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

/// Whether a text is a SHA-256 digest, the one algorithm that registries use.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("weir", "weir", DOCKER_HUB, "library/weir", "latest")]
    #[case("team/weir:1", "team/weir", DOCKER_HUB, "team/weir", "1")]
    #[case(
        "registry.test:5000/weir-ingest:v1.2",
        "registry.test:5000/weir-ingest",
        "registry.test:5000",
        "weir-ingest",
        "v1.2"
    )]
    #[case("localhost/a/b", "localhost/a/b", "localhost", "a/b", "latest")]
    #[case("[::1]:5000/a:b", "[::1]:5000/a", "[::1]:5000", "a", "b")]
    fn a_tag_is_read(
        #[case] text: &str,
        #[case] written: &str,
        #[case] registry: &str,
        #[case] repository: &str,
        #[case] tag: &str,
    ) {
        let expected = Reference {
            written: written.into(),
            registry: registry.into(),
            repository: repository.into(),
            target: Target::Tag(tag.into()),
        };
        assert_eq!(Reference::parse(text), Some(expected));
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let parsed = Reference::parse(&format!("quay.io/a/b:1@{digest}")).unwrap();
        assert_eq!((parsed.written.as_str(), parsed.target), ("quay.io/a/b", Target::Digest(digest)));
    }

    #[rstest]
    #[case("")]
    #[case("Upper/case")]
    #[case("a b")]
    #[case("quay.io/a:")]
    #[case("quay.io/a@sha256:12")]
    #[case("quay.io/../a")]
    #[case("evil.test?/a")]
    #[case("user@quay.io/a")]
    #[case("quay.io:99999/a")]
    fn no_reference_is_refused(#[case] text: &str) {
        assert_eq!(Reference::parse(text), None);
    }
}
