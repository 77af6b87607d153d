#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

use percent_encoding::percent_decode;

/// Names and values, in the order they came: a query, cookies, the fields of a form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// The value of a name; of several, the last, as in PHP.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(super) fn from_urlencoded(text: &[u8]) -> Params {
        Params { pairs: form_urlencoded::parse(text).into_owned().collect() }
    }

    /// `Cookie: a=1; b=2` (RFC 6265 §4.2.1). Values are percent-decoded, as PHP does; a pair without `=` is skipped.
    pub(super) fn from_cookies<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Params {
        let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair.get(..at)?.trim_ascii(), pair.get(at.saturating_add(1)..)?.trim_ascii());
            let value = percent_decode(value).decode_utf8_lossy().into_owned();
            Some((String::from_utf8_lossy(name).into_owned(), value))
        });
        Params { pairs: pairs.collect() }
    }

    pub(super) fn push(&mut self, name: String, value: String) {
        self.pairs.push((name, value));
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
