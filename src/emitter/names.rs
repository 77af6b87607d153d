use super::ListenerError;

/// The names of an object's events. An event is its place in `names` from here on: a name is looked at once, when a
/// listener is registered, and never when an event is emitted.
#[derive(Debug)]
pub(crate) struct EventNames {
    /// What the object is called in messages, with its article.
    pub(crate) object: &'static str,
    /// At most 16: a [`Table`](super::Table) keeps a set of events in a `u16`.
    pub(crate) names: &'static [&'static str],
    /// Other names that are accepted: (other name, name).
    pub(crate) aliases: &'static [(&'static str, &'static str)],
}

impl EventNames {
    /// The event of that name.
    pub(crate) fn resolve(&self, name: &str) -> Result<u8, ListenerError> {
        let alias = self.aliases.iter().find(|(alias, _)| *alias == name);
        let canonical = alias.map_or(name, |(_, canonical)| canonical);
        match self.names.iter().position(|known| *known == canonical) {
            Some(event) => Ok(event as u8),
            None => {
                let (object, name, valid) = (self.object, name.to_owned(), self.names);
                Err(ListenerError::UnknownEvent { object, name, valid })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: EventNames = EventNames { object: "a door", names: &["open", "close"], aliases: &[("opened", "open")] };

    #[test]
    fn names_and_aliases() {
        assert_eq!((NAMES.resolve("open"), NAMES.resolve("opened"), NAMES.resolve("close")), (Ok(0), Ok(0), Ok(1)));
    }

    #[test]
    fn an_unknown_name_is_told_the_valid_ones() {
        for name in ["", "Open", "knock"] {
            let message = NAMES.resolve(name).unwrap_err().to_string();
            assert_eq!(message, format!("there is no event {name:?} on a door; its events are open, close"));
        }
    }
}
