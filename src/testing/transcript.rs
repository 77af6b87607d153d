use std::collections::VecDeque;
use std::fmt;

/// Maximum number of entries of a transcript.
const ENTRIES: usize = 20;

/// The last messages of a connection, for the message of a failed expectation.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    entries: VecDeque<String>,
    omitted: usize,
}

impl Transcript {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn sent(&mut self, what: impl fmt::Display) {
        self.add(format!("sent     {what}"));
    }

    pub(super) fn received(&mut self, what: impl fmt::Display) {
        self.add(format!("received {what}"));
    }

    fn add(&mut self, entry: String) {
        self.entries.push_back(entry);
        if self.entries.len() > ENTRIES {
            self.entries.pop_front();
            self.omitted = self.omitted.saturating_add(1);
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.omitted > 0 {
            write!(f, "\n  ({} earlier entries)", self.omitted)?;
        }
        self.entries.iter().try_for_each(|entry| write!(f, "\n  {entry}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_entries_are_kept() {
        let mut transcript = Transcript::default();
        assert_eq!(transcript.to_string(), "");
        transcript.sent("a");
        transcript.received("b");
        assert_eq!(transcript.to_string(), "\n  sent     a\n  received b");
        (0..100).for_each(|number| transcript.sent(number));
        let shown = transcript.to_string();
        assert!(shown.starts_with("\n  (82 earlier entries)\n  sent     80\n"), "{shown}");
        assert_eq!(shown.lines().count(), 2 + ENTRIES);
    }
}
