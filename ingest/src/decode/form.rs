//! Form fields and query parameters in which old clients send a body.

use std::borrow::Cow;

/// How far a body is looked at for the field, when nothing says that it is a form.
const LOOKED_AT: usize = 256;

/// A body that was sent as a field, and the hint beside it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Form<'a> {
    /// `data`.
    pub(crate) data: Option<Cow<'a, str>>,
    /// `compression`.
    pub(crate) compression: Option<Cow<'a, str>>,
}

/// Reads fields; the first of each name counts.
pub(crate) fn parse(text: &[u8]) -> Form<'_> {
    let mut form = Form::default();
    for (name, value) in url::form_urlencoded::parse(text.trim_ascii()) {
        match &*name {
            "data" if form.data.is_none() => form.data = Some(value),
            "compression" if form.compression.is_none() => form.compression = Some(value),
            _ => {}
        }
    }
    form
}

/// Whether a body is a form with the field, although nothing says so.
pub(super) fn is_likely(body: &[u8]) -> bool {
    let start = &body[..body.len().min(LOOKED_AT)];
    start.starts_with(b"data=") || start.windows(6).any(|window| window == b"&data=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_and_its_hint_are_found_in_any_order() {
        let form = parse(b"ip=1&compression=lz64&data=a%2Bb%3D+c&data=second\n");
        assert_eq!((form.data.as_deref(), form.compression.as_deref()), (Some("a+b= c"), Some("lz64")));
        assert_eq!(parse(b"x=1"), Form::default());
        assert!(is_likely(b"data=x") && is_likely(b"ip=1&data=x") && !is_likely(b"metadata=1"));
    }
}
