#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::fmt;

use percent_encoding::percent_decode;

/// Names and values of a query, of cookies, or of a form, in the order in which the client sent
/// them.
///
/// Names keep the form that the client sent. PHP converts `b[]=1&b[]=2` to an array; here `b[]` is
/// the name of two values, which [`get_all`](Params::get_all) returns.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
    /// Of several values of one name, the first counts, not the last.
    first_counts: bool,
}

impl Params {
    /// Returns the value of a name, or `None`.
    ///
    /// If a query or a form has several values of one name, returns the last value, as in PHP. If
    /// several cookies have one name, returns the first value, as in PHP's `$_COOKIE`. Clients send
    /// the cookie of the more specific path first (RFC 6265 section 5.4). ReactPHP returns the last
    /// cookie.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.get_all(name);
        if self.first_counts { values.next() } else { values.next_back() }
    }

    /// Returns all values of a name, in the order in which the client sent them.
    ///
    /// ```
    /// use react_websocket::{Response, ServerRequest};
    ///
    /// // ?color[]=red&color[]=blue
    /// let _router = |request: ServerRequest| {
    ///     let query = request.query_params();
    ///     let colors: Vec<&str> = query.get_all("color[]").collect();
    ///     Response::plaintext(colors.join(", "))
    /// };
    /// ```
    pub fn get_all<'a>(&'a self, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Iterates over all pairs of name and value, in the order in which the client sent them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Returns whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(crate) fn from_urlencoded(text: &[u8]) -> Params {
        Params { pairs: form_urlencoded::parse(text).into_owned().collect(), first_counts: false }
    }

    /// Parses `Cookie: a=1; b=2` (RFC 6265 section 4.2.1). Names are not decoded. Values are
    /// percent-decoded, and a `+` stays one, as in PHP's `$_COOKIE`. A pair without `=` is skipped,
    /// as in ReactPHP.
    pub(crate) fn from_cookies<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Params {
        let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair.get(..at)?.trim_ascii(), pair.get(at.saturating_add(1)..)?.trim_ascii());
            let value = percent_decode(value).decode_utf8_lossy().into_owned();
            Some((String::from_utf8_lossy(name).into_owned(), value))
        });
        Params { pairs: pairs.collect(), first_counts: true }
    }

    pub(crate) fn push(&mut self, name: String, value: String) {
        self.pairs.push((name, value));
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(lines: &[&[u8]]) -> Params {
        Params::from_cookies(lines.iter().copied())
    }

    /// PHP, Go and Express do the same.
    #[test]
    fn of_several_cookies_with_one_name_the_first_counts() {
        for (lines, last) in
            [(&[&b"sid=A; sid=B"[..]][..], "B"), (&[b"sid=A", b"sid=B"], "B"), (&[b"a=1; sid=A", b"sid=B; sid=C"], "C")]
        {
            let cookies = cookies(lines);
            assert_eq!((cookies.get("sid"), cookies.get_all("sid").next_back()), (Some("A"), Some(last)));
        }
    }

    #[test]
    fn of_several_parameters_with_one_name_the_last_counts() {
        let query = Params::from_urlencoded(b"b[]=2&a=1&b[]=3&a=&c[x]=y&b[]=2");
        assert_eq!((query.get("a"), query.get("b[]"), query.get("b")), (Some(""), Some("2"), None));
        assert_eq!(query.get_all("b[]").collect::<Vec<_>>(), ["2", "3", "2"]);
        assert_eq!(query.get_all("c[x]").collect::<Vec<_>>(), ["y"]);
        assert_eq!(query.get_all("none").count(), 0);
    }

    /// PHP's `$_COOKIE`, but for pairs without `=`, which ReactPHP skips.
    #[test]
    fn cookies_are_read_as_php_does() {
        for (line, name, value) in [
            (&b"a=b=c"[..], "a", Some("b=c")),
            (b"a=", "a", Some("")),
            (b" a = b c ;x=y", "a", Some("b c")),
            (b"a=\"b; c\"", "a", Some("\"b")),
            (b"a=\"b\"", "a", Some("\"b\"")),
            (b"a=%22b%3B+c%3d%C3%A9", "a", Some("\"b;+c=\u{e9}")),
            (b"a=%", "a", Some("%")),
            (b"a=%FF", "a", Some("\u{fffd}")),
            (b"a=\xFF", "a", Some("\u{fffd}")),
            (b"%61=b", "a", None),
            (b"%61=b", "%61", Some("b")),
            (b"A=b", "a", None),
            (b"a", "a", None),
            (b"a,b=c", "a,b", Some("c")),
            (b";;a=b;;", "a", Some("b")),
        ] {
            assert_eq!(cookies(&[line]).get(name), value, "{}", line.escape_ascii());
        }
    }
}
