use super::ListenerError;

/// The names of an object's events. Internally an event is its index in `names`. Names are only
/// compared when a listener is registered, and never when an event is emitted.
#[derive(Debug)]
pub(crate) struct EventNames {
    /// The object's name in messages, with its article.
    pub(crate) object: &'static str,
    /// At most 16 names: a [`Table`](super::Table) keeps a set of events in a `u16`.
    pub(crate) names: &'static [&'static str],
    /// Other accepted names: (other name, name).
    pub(crate) aliases: &'static [(&'static str, &'static str)],
    /// Names that other libraries have, and that are not accepted: (names, advice).
    pub(crate) hints: &'static [(&'static [&'static str], &'static str)],
}

impl EventNames {
    /// Returns the event of this name.
    pub(crate) fn resolve(&self, name: &str) -> Result<u8, ListenerError> {
        let alias = self.aliases.iter().find(|(alias, _)| *alias == name);
        let canonical = alias.map_or(name, |(_, canonical)| canonical);
        match self.names.iter().position(|known| *known == canonical) {
            Some(event) => Ok(event as u8),
            None => {
                let (object, hint, name, valid) = (self.object, self.hint(name), name.to_owned(), self.names);
                Err(ListenerError::UnknownEvent { object, name, valid, hint })
            }
        }
    }

    /// Returns the name of an event.
    pub(crate) fn name(&self, event: u8) -> &'static str {
        self.names.get(usize::from(event)).copied().unwrap_or_default()
    }

    /// Returns a suggestion for a wrong name.
    #[cold]
    fn hint(&self, name: &str) -> Option<String> {
        // `onMessage`, as Ratchet has it.
        let lower = name.to_ascii_lowercase();
        let bare = lower.strip_prefix("on").map_or(&*lower, |bare| bare.trim_start_matches(['_', '-']));
        if let Some((_, instead)) = self.hints.iter().find(|(names, _)| names.contains(&bare)) {
            return Some((*instead).to_owned());
        }
        let near = self.names.iter().map(|known| (distance(bare, known), known)).min()?;
        (near.0 <= 2 && bare.len() > 2).then(|| did_you_mean(near.1))
    }
}

pub(crate) fn did_you_mean(event: &str) -> String {
    format!("did you mean {event:?}?")
}

/// Returns the distance between two names: the number of bytes that were added, omitted or
/// replaced. A name with another ending, such as `closed` or `err`, has the least distance.
fn distance(name: &str, known: &str) -> usize {
    if name.starts_with(known) || known.starts_with(name) {
        return 0;
    }
    // The distance of Levenshtein, with one row for each byte of `name`.
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (above, byte) in (0..).zip(name.bytes()) {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(known.bytes()) {
            left = (diagonal + usize::from(byte != other)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, left);
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: EventNames = EventNames {
        object: "a door",
        names: &["open", "close"],
        aliases: &[("opened", "open")],
        hints: &[(&["knock", "ring"], "nobody is at home")],
    };

    #[test]
    fn names_and_aliases() {
        assert_eq!((NAMES.resolve("open"), NAMES.resolve("opened"), NAMES.resolve("close")), (Ok(0), Ok(0), Ok(1)));
    }

    #[test]
    fn an_unknown_name_is_told_the_valid_ones() {
        for name in ["", "x", "xy", "slam", "on"] {
            let message = NAMES.resolve(name).unwrap_err().to_string();
            assert_eq!(message, format!("there is no event {name:?} on a door; its events are open, close"));
        }
    }

    #[test]
    fn a_name_that_is_near_or_known_from_elsewhere_is_told_what_was_meant() {
        let open = r#"did you mean "open"?"#;
        let close = r#"did you mean "close"?"#;
        for (name, hint) in [
            ("Open", open),
            ("onOpen", open),
            ("on_open", open),
            ("opne", open),
            ("ope", open),
            ("opens", open),
            ("closed", close),
            ("colse", close),
            ("clothe", close),
            ("ON-CLOSE", close),
            ("ring", "nobody is at home"),
            ("onKnock", "nobody is at home"),
        ] {
            let message = NAMES.resolve(name).unwrap_err().to_string();
            assert_eq!(message, format!("there is no event {name:?} on a door; its events are open, close; {hint}"));
        }
    }

    #[test]
    fn the_distance_is_levenshteins() {
        for (a, b, expected) in [("kitten", "sitting", 3), ("flaw", "lawn", 2), ("", "abc", 0), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
